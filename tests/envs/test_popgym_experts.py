"""Scripted policies that remember what an agent could remember reach the returns they reach in the original popgym."""

import functools
import itertools
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.popgym.labyrinth import FREE, GOAL, OBSTACLE
from rlformers.envs.registry import BUILT_IN, make_env

REFERENCE = json.loads((Path(__file__).parents[1] / "data/popgym/popgym_reference.json").read_text())
LEVELS = pytest.mark.parametrize(
    "level", ["Easy"] + [pytest.param(level, marks=pytest.mark.slow) for level in ("Medium", "Hard")]
)


class Expert(NamedTuple):
    """Sees what an agent sees: memory, act(key, memory, observation, last action or -1) -> action, memory."""

    memory: Any
    act: Any


def reciter(env):
    """Autoencode: a stack."""

    def act(key, memory, obs, last_action):
        shown, held, played = memory
        mode, suit = obs
        # The last card is shown with the mode in which it must be answered.
        shown, held = jnp.where(played, shown, shown.at[held].set(suit)), held + ~played
        playing = mode == 0
        return shown[held - 1], (shown, held - playing, playing)

    return Expert((jnp.zeros((env.num_cards,), jnp.int32), jnp.int32(0), jnp.bool_(False)), act)


def counter(env):
    """CountRecall: a count of each kind."""

    def act(key, counts, obs, last_action):
        counts = counts.at[obs[0]].add(1)
        return counts[obs[1]], counts

    return Expert(jnp.zeros((env.num_kinds,), jnp.int32), act)


def card_counter(env):
    """HigherLower: bet on the side on which more cards remain."""

    def act(key, remaining, rank, last_action):
        remaining = remaining.at[rank].add(-1)
        ranks = jnp.arange(len(remaining))
        higher, lower = (jnp.sum(remaining * side) for side in (ranks > rank, ranks < rank))
        return jnp.where(higher >= lower, 0, 1), remaining

    return Expert(env.full_deck(), act)


def threshold(env):
    """HigherLower without memory: bet on the side on which there are more ranks."""
    return Expert((), lambda key, memory, rank, last_action: (jnp.where(rank < 6, 0, 1), memory))


def first_suit(env):
    """RepeatFirst: one suit."""

    def act(key, memory, suit, last_action):
        answer = jnp.where(last_action < 0, suit, memory)
        return answer, answer

    return Expert(jnp.int32(0), act)


def window(env):
    """RepeatPrevious: the last k suits."""

    def act(key, recent, suit, last_action):
        recent = jnp.append(recent[1:], suit)
        return recent[0], recent

    return Expert(jnp.zeros((env.k,), jnp.int32), act)


def pair_finder(env):
    """Concentration: all cards seen; turn a known pair, else an unknown card and, if it is known, its like."""
    unknown = -1

    def act(key, memory, obs, last_action):
        known, matched, first = memory
        known = jnp.where(obs == env.num_kinds, known, obs)
        places = jnp.arange(env.num_cards)
        second = first >= 0
        match = second & (known[first] == known[last_action])
        matched = matched | (match & ((places == first) | (places == last_action)))
        first = jnp.where(second, -1, last_action)

        free = (known != unknown) & ~matched
        counts = jnp.sum((known == jnp.arange(env.num_kinds)[:, None]) & free, axis=1)
        in_pair = free & (counts[known] >= 2)
        like_first = free & (known == known[first]) & (places != first)
        good = jnp.where(first >= 0, like_first, in_pair)
        action = jnp.where(good.any(), jnp.argmax(good), jnp.argmax(known == unknown))
        return action, (known, matched, first)

    nothing = jnp.zeros((env.num_cards,), jnp.bool_)
    return Expert((jnp.where(nothing, 0, unknown), nothing, jnp.int32(-1)), act)


def thompson(env):
    """MultiarmedBandit: pull the arm that is best in a draw from the posterior, Beta(1, 1) before the first pull."""

    def act(key, counts, paid, last_action):
        counts = counts.at[last_action, paid].add(jnp.where(last_action < 0, 0, 1))
        return jnp.argmax(jax.random.beta(key, counts[:, 1], counts[:, 0])), counts

    return Expert(jnp.ones((env.num_bandits, 2), jnp.float32), act)


def _visited(env, last_action):
    """The tile of the last action as a mask [n²], empty before the first."""
    return jnp.arange(env.board_size**2) == last_action[0] * env.board_size + last_action[1]


def ship_hunter(env):
    """Battleship: the tile in most places of ships that cover no miss, each 20 times heavier for every hit."""
    n = env.board_size
    places = []
    for size in env.ship_sizes:
        for line, start in itertools.product(range(n), range(n - size + 1)):
            board = np.zeros((n, n), np.float32)
            board[line, start : start + size] = 1
            places += [board.ravel(), board.T.ravel()]
    places = jnp.array(places)

    def act(key, memory, obs, last_action):
        hits, misses = memory
        last = _visited(env, last_action)
        hits, misses = jnp.where(last, obs, hits), jnp.where(last, 1 - obs, misses)
        weight = jnp.where(places @ misses == 0, 20.0 ** (places @ hits), 0)
        score = jnp.where(hits + misses > 0, -1, weight @ places)
        return jnp.stack(jnp.divmod(jnp.argmax(score), n)), (hits, misses)

    return Expert((jnp.zeros(n * n, jnp.int32),) * 2, act)


def mine_avoider(env):
    """MineSweeper: all boards that agree with the numbers seen; click the tile that is a mine on fewest of them."""
    n = env.board_size
    mines = np.array(list(itertools.combinations(range(n * n), env.num_mines)))
    boards = np.zeros((len(mines), n, n), np.float32)
    boards.reshape(len(mines), -1)[np.arange(len(mines))[:, None], mines] = 1
    padded = np.pad(boards, ((0, 0), (1, 1), (1, 1)))
    numbers = sum(padded[:, i : i + n, j : j + n] for i, j in itertools.product(range(3), repeat=2))
    boards, numbers = (jnp.array(part.reshape(len(mines), -1)) for part in (boards, numbers))

    def act(key, memory, obs, last_action):
        possible, viewed = memory
        last = _visited(env, last_action)
        agrees = jnp.all(~last | ((boards == 0) & (numbers == obs)), axis=1)
        possible, viewed = possible & agrees, viewed | last
        risk = jnp.where(viewed, jnp.inf, possible @ boards)
        return jnp.stack(jnp.divmod(jnp.argmin(risk), n)), (possible, viewed)

    return Expert((jnp.ones(len(mines), jnp.bool_), jnp.zeros(n * n, jnp.bool_)), act)


def balancer(env):
    """VelocityOnlyCartPole: integrate the velocities from the positions of the reset, and feed all back."""
    tau = env.default_params.tau

    def act(key, memory, obs, last_action):
        start = last_action < 0
        positions, velocities = memory
        positions = jnp.where(start, obs, positions + tau * velocities)
        velocities = jnp.where(start, 0, obs)
        push = positions @ jnp.array([0.05, 1.0]) + velocities @ jnp.array([0.1, 0.25])
        return jnp.where(push > 0, 1, 0), (positions, velocities)

    return Expert((jnp.zeros(2), jnp.zeros(2)), act)


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
