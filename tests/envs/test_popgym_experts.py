"""Scripted policies that remember what an agent could remember reach the returns they reach in the original popgym."""

import functools
import itertools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from popgym_experts import (
    balancer,
    card_counter,
    counter,
    first_suit,
    mine_avoider,
    pair_finder,
    reciter,
    ship_hunter,
    thompson,
    threshold,
    window,
)

from rlformers.envs.popgym.labyrinth import FREE, GOAL, OBSTACLE
from rlformers.envs.registry import BUILT_IN, make_env

REFERENCE = json.loads((Path(__file__).parents[1] / "data/popgym/popgym_reference.json").read_text())
LEVELS = pytest.mark.parametrize(
    "level", ["Easy"] + [pytest.param(level, marks=pytest.mark.slow) for level in ("Medium", "Hard")]
)


def play(name, expert, num_episodes):
    """Returns of episodes, and whether each terminated."""
    env, params = make_env(f"popgym/{name}", raw=True)
    wanted = REFERENCE[name]
    limit = max(wanted["max_episode_length_attr"], wanted["length_max"])  # the attribute is -1 where popgym has none
    memory, act = expert(env)

    def episode(key):
        key_reset, key_steps = jax.random.split(key)
        obs, state = env.reset_env(key_reset, params)

        def step(carry, key):
            obs, state, memory, last_action, alive = carry
            key_act, key_step = jax.random.split(key)
            action, memory = act(key_act, memory, obs, last_action)
            obs, state, reward, terminated, _ = env.step_env(key_step, state, action, params)
            still = alive & ~terminated & ~env.is_truncated(state, params)
            return (obs, state, memory, action, still), (jnp.where(alive, reward, 0), alive & terminated)

        no_action = jnp.full(env.action_space(params).shape, -1, jnp.int32)
        start = (obs, state, memory, no_action, jnp.bool_(True))
        _, (rewards, terminated) = jax.lax.scan(step, start, jax.random.split(key_steps, limit))
        return rewards.sum(), terminated.any()

    return map(np.asarray, jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(11), num_episodes)))


EXPERTS = [
    ("RepeatFirst", first_suit, "RepFirst"),
    ("RepeatPrevious", window, "RepPrev"),
    ("Autoencode", reciter, "Auto"),
    ("CountRecall", counter, "Count"),
    ("HigherLower", card_counter, "HL"),
    ("HigherLower", threshold, "HLmemoryless"),
    ("Concentration", pair_finder, "Conc"),
    ("MultiarmedBandit", thompson, "TS"),
    ("Battleship", ship_hunter, "Ship"),
]
QUICK = (window, reciter, pair_finder, ship_hunter)


@pytest.mark.parametrize(
    "family,expert,policy,level",
    [
        pytest.param(
            *row,
            level,
            id=f"{row[0]}-{row[1].__name__}-{level}",
            marks=[] if level == "Easy" and row[1] in QUICK else pytest.mark.slow,
        )
        for row in EXPERTS
        for level in ("Easy", "Medium", "Hard")
    ],
)
def test_an_expert_earns_what_it_earns_in_the_original(family, level, expert, policy):
    name = family + level
    policies = {entry["policy"]: entry for entry in REFERENCE[name]["reference_policies"]}
    wanted = policies[policy]
    num_episodes = 200
    returns, terminated = play(name, expert, num_episodes)
    error = np.hypot(returns.std(), wanted["return_std"]) / np.sqrt(num_episodes)
    assert abs(returns.mean() - wanted["return_mean"]) < max(4 * error, 1e-5)
    assert terminated.mean() == wanted["frac_terminated"]


@LEVELS
def test_positions_at_the_reset_make_velocities_enough(level):
    returns, terminated = play(f"VelocityOnlyCartPole{level}", balancer, 50)
    np.testing.assert_allclose(returns, 1, atol=1e-5)
    assert not terminated.any()


def test_a_careful_player_of_minesweeper_comes_near_the_optimum():
    (wanted,) = REFERENCE["MineSweeperEasy"]["reference_policies"]
    num_episodes = 4_000
    returns, terminated = play("MineSweeperEasy", mine_avoider, num_episodes)
    error = returns.std() / np.sqrt(num_episodes)
    assert abs(returns.mean() - wanted["return_mean"]) < 4 * wanted["return_std"] / np.sqrt(wanted["episodes"])
    assert 0.72 < returns.mean() < 0.766 + 4 * error  # 0.766: dynamic programming over beliefs
    assert terminated.all()


@pytest.mark.parametrize("level", ["Easy", "Medium", "Hard"])
def test_nobody_survives_two_clicks_of_minesweeper_more_often(level):
    """The first tile has 3, 5 or 8 neighbours. Of these and of the other tiles, the less risky are clicked next."""
    env, _ = make_env(f"popgym/MineSweeper{level}", raw=True)
    mines, others = env.num_mines, env.board_size**2 - 1
    bounds = []
    for near in (3, 5, 8):
        numbers = range(min(near, mines) + 1)
        share = [math.comb(near, c) * math.comb(others - near, mines - c) / math.comb(others, mines) for c in numbers]
        hit_second = sum(p * min(c / near, (mines - c) / (others - near)) for c, p in zip(numbers, share, strict=True))
        hit_first = mines / (others + 1)
        survives = (1 - hit_first) * (1 - hit_second)
        # A mine costs 1/2 + 1/T, a free tile before it earns 1/T; nothing earns more than 1 in all.
        bounds.append(survives - hit_first * (0.5 + 1 / env.max_steps) - (1 - hit_first) * hit_second * 0.5)
    entry = BUILT_IN[f"popgym/MineSweeper{level}"]
    ceiling = entry.scores().ceiling
    if level == "Medium":  # played, see below
        assert ceiling < max(bounds) and entry.best == f"{ceiling} to {max(bounds):.3f}"
    else:
        assert ceiling == round(max(bounds), 3)


@LEVELS
def test_labyrinths_whose_maze_is_known(level):
    """The shortest way out; the shortest walk to all squares, every passage twice but for those to the last one."""
    env, params = make_env(f"popgym/LabyrinthEscape{level}", raw=True)  # LabyrinthExplore has the same mazes
    _, state = jax.jit(jax.vmap(env.reset_env, (0, None)))(jax.random.split(jax.random.key(3), 500), params)
    grid, (row, column) = np.asarray(state.grid), np.asarray(state.position).T
    distance, now = np.full(grid.shape, -1), np.zeros(grid.shape, bool)
    now[np.arange(len(grid)), row, column] = True
    for step in itertools.count():
        distance[now] = step
        padded = np.pad(now, ((0, 0), (1, 1), (1, 1)))
        near = padded[:, 2:, 1:-1] | padded[:, :-2, 1:-1] | padded[:, 1:-1, 2:] | padded[:, 1:-1, :-2]
        now = near & (grid != OBSTACLE) & (distance < 0)
        if not now.any():
            break
    limit, free = params.max_steps_in_episode, grid == FREE
    way_out = np.where(grid == GOAL, distance, -1).max((1, 2))
    escapes = np.where(way_out < 0, 1 / limit - 1, 1 - way_out / limit)
    num_free, reached = free.sum((1, 2)), (free & (distance > 0)).sum((1, 2))
    steps = 2 * reached - np.where(free, distance, 0).max((1, 2))
    assert (steps < limit - 1).all()
    steps = np.where(reached == num_free, steps, limit - 1)  # what cannot be reached keeps the episode going
    explores = reached / num_free - (steps - reached) / limit
    for family, returns in (("Escape", escapes), ("Explore", explores)):
        error = returns.std() / np.sqrt(len(returns))
        assert abs(returns.mean() - BUILT_IN[f"popgym/Labyrinth{family}{level}"].scores().ceiling) < 4 * error + 5e-4


@pytest.mark.slow
def test_a_careful_player_of_larger_minesweeper():
    env, params = make_env("popgym/MineSweeperMedium", raw=True)
    n = env.board_size
    bits = 1 << np.arange(n * n)
    row, column = np.divmod(np.arange(n * n), n)
    near = (np.maximum(abs(row[:, None] - row), abs(column[:, None] - column)) <= 1) @ bits
    boards = np.array(list(itertools.combinations(bits, env.num_mines))).sum(1)  # mines as bits: 1.9 million boards

    @functools.cache
    def belief(seen):
        """Boards that agree with what was seen, ((tile, number), ...), and the tile that is a mine on fewest."""
        possible = boards
        if seen:
            tile, number = seen[-1]
            possible, _ = belief(seen[:-1])
            agrees = (possible & bits[tile] == 0) & (np.bitwise_count(possible & near[tile]) == number)
            possible = possible[agrees]
        viewed = [tile for tile, _ in seen]
        risk = [len(boards) + 1 if tile in viewed else np.sum(possible >> tile & 1) for tile in range(n * n)]
        return possible, int(np.argmin(risk))

    step = jax.jit(env.step_env)
    (wanted,) = REFERENCE["MineSweeperMedium"]["reference_policies"]
    returns = []
    for key in jax.random.split(jax.random.key(5), 200):
        (_, state), seen, total, terminated = env.reset_env(key, params), (), 0.0, False
        while not terminated:
            _, tile = belief(seen)
            number, state, reward, terminated, _ = step(key, state, jnp.array(divmod(tile, n)), params)
            seen, total = (*seen, (tile, int(number))), total + float(reward)
        returns.append(total)
    error = np.hypot(np.std(returns) / np.sqrt(len(returns)), wanted["return_std"] / np.sqrt(wanted["episodes"]))
    assert abs(np.mean(returns) - wanted["return_mean"]) < 4 * error
