"""xminigrid: MiniGrid and XLand against the package stepped by hand, and our rulesets."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("xminigrid", reason="pip install 'rlformers[xland]'")

import xminigrid
from compare import assert_protocol, assert_trains
from xminigrid.core.constants import Tiles
from xminigrid.core.goals import check_goal
from xminigrid.core.rules import check_rule
from xminigrid.types import AgentState

from rlformers.envs.adapters.catalogue import ENTRIES
from rlformers.envs.adapters.xland_rulesets import OBJECTS, Rulesets, ruleset_of
from rlformers.envs.registry import make_env

IDS = [entry.name for entry in ENTRIES if entry.name.startswith("xland/")]
HOLD = {"goal": [1, 3, 1, 0, 0], "rules": [[0] * 7], "init_tiles": [[3, 1]]}  # hold the red ball


def test_ids_are_those_of_the_package():
    ours = {name.removeprefix("xland/") for name in IDS if not name.startswith("xland/Meta")}
    assert ours == set(xminigrid.registered_environments())
    limits = {entry.name.removeprefix("xland/"): entry.length for entry in ENTRIES}
    for name in ours:
        assert limits[name] == f"<={xminigrid.make(name)[1].max_steps}", name


@pytest.mark.parametrize("name", ["xland/MiniGrid-MemoryS8", "xland/Meta-R1-9x9"])
def test_protocol(name):
    assert_protocol(name)


def test_steps_are_those_of_the_package():
    """Observations, rewards and ends of random play, and a time limit that truncates."""
    limit, num_steps = 12, 40
    env, params = make_env("xland/MiniGrid-EmptyRandom-5x5", raw=True, max_steps=limit)
    theirs, their_params = xminigrid.make("MiniGrid-EmptyRandom-5x5", max_steps=limit)
    reset, step = jax.jit(env.reset_env), jax.jit(env.step_env)
    their_reset, their_step = jax.jit(theirs.reset, static_argnums=0), jax.jit(theirs.step, static_argnums=0)
    actions = np.random.default_rng(0).choice(6, num_steps, p=[0.6, 0.2, 0.2, 0, 0, 0])

    key, ends = jax.random.key(0), {"terminated": 0, "truncated": 0}
    obs, state = reset(key, params)
    expected = their_reset(their_params, key)
    for action in actions:
        assert (obs["tiles"].reshape(7, 7) == expected.observation[..., 0]).all()
        assert (obs["colors"].reshape(7, 7) == expected.observation[..., 1]).all()
        assert obs["direction"] == expected.state.agent.direction
        obs, state, reward, terminated, _ = step(key, state, action, params)
        truncated = env.is_truncated(state, params)
        expected = their_step(their_params, expected, action)
        assert reward == expected.reward and (terminated | truncated) == expected.last()
        if expected.last():
            assert terminated == (expected.discount == 0) == (reward > 0)
            assert truncated == (expected.state.step_num == limit and reward == 0)
            ends["terminated"] += int(terminated)
            ends["truncated"] += int(truncated)
            key = jax.random.fold_in(key, 1)
            obs, state = reset(key, params)
            expected = their_reset(their_params, key)
    assert min(ends.values()) > 0, ends


def test_final_observation_is_that_of_the_goal():
    """The automatic reset is ours: the goal is under the agent in the last observation, not in the first."""
    env, params = make_env("xland/MiniGrid-Empty-5x5", raw=True)
    obs, state = env.reset(jax.random.key(0), params)
    step = jax.jit(env.step)
    for action in (0, 0, 1, 0, 0):  # two cells ahead, turn right, two cells ahead
        first = obs
        obs, state, reward, terminated, truncated, info = step(jax.random.key(1), state, action, params)
    here = 6 * 7 + 3  # the middle of the last row
    assert terminated and not truncated and reward == pytest.approx(1 - 0.9 * 5 / 100)
    assert info["final_observation"]["tiles"][here] == 6 and info["final_observation"]["direction"] == 2
    assert obs["tiles"][here] == 1 and obs["direction"] == 1 and first["tiles"][here] == 1


def test_a_ruleset_can_be_given():
    env, params = make_env("xland/XLand-MiniGrid-R1-9x9", raw=True, ruleset=HOLD)
    _, state = env.reset(jax.random.key(0), params)
    grid = np.array(state.inner.grid)
    assert ((grid == [3, 1]).all(-1)).sum() == 1
    y, x = np.argwhere((grid == [3, 1]).all(-1))[0]
    above = y > 1  # stand above the ball, looking down, or below it, looking up
    agent = state.inner.agent.replace(
        position=jnp.array([y - 1 if above else y + 1, x]), direction=jnp.asarray(2 * above)
    )
    state = state._replace(inner=state.inner.replace(agent=agent))
    _, _, reward, terminated, truncated, _ = env.step(jax.random.key(1), state, 3, params)
    assert terminated and not truncated and reward == pytest.approx(1 - 0.9 / 243)


@pytest.mark.parametrize(
    "ruleset,word",
    [
        ("hold", "mapping with goal, rules, init_tiles"),
        ({"goal": [1]}, "mapping"),
        (HOLD | {"goal": [1, 3]}, "goal needs 5"),
        (HOLD | {"goal": [15, 0, 0, 0, 0]}, "below 15"),
        (HOLD | {"rules": [[12] + [0] * 6]}, "below 12"),
        (HOLD | {"rules": []}, "n x 7"),
        (HOLD | {"init_tiles": [[1, 2], [3]]}, "n x 2"),
        (HOLD | {"init_tiles": [[3, 50]]}, "init_tiles needs tiles below 13 of colours below 12, got"),
        (HOLD | {"goal": [4, 3, 1, 13, 1]}, "goal needs tiles below 13"),
        (HOLD | {"goal": [5, 3, 12, 20, 20]}, "goal needs tiles below 13 of colours below 12"),
        (HOLD | {"rules": [[3, 3, 1, 4, 1, 5, 12]]}, "rules needs tiles below 13 of colours below 12"),
        (HOLD | {"init_tiles": [[3, 1]] * 49}, "need at most 48 objects laid out in XLand-MiniGrid-R1-9x9, got 49"),
    ],
)
def test_impossible_rulesets_are_named(ruleset, word):
    with pytest.raises(ValueError, match=f"env_kwargs.ruleset: .*{word}"):
        make_env("xland/XLand-MiniGrid-R1-9x9", ruleset=ruleset)


@pytest.mark.parametrize(
    "kwargs,word",
    [
        ({"max_rules": -1}, "max_rules: need at least 0"),
        ({"max_rules": 30}, "max_rules: 30 rules"),
        ({"split": "test"}, "split: need one of all, train, heldout"),
        ({"max_steps": 0}, "max_steps: need at least 1"),
        ({"max_rules": 0, "num_distractors": 56}, "num_distractors: need at most 48 objects laid out in .*, got 58"),
        ({"ruleset": HOLD, "split": "heldout"}, "split: cannot be combined with env_kwargs.ruleset, got 'heldout'"),
    ],
)
def test_impossible_arguments_are_named(kwargs, word):
    with pytest.raises(ValueError, match=f"env_kwargs.{word}"):
        make_env("xland/Meta-R1-9x9", **kwargs)


@pytest.mark.parametrize("goal", [[5, 3, 1, 20, 20], [6, 20, 20, 0, 0]])
def test_positions_of_a_goal_are_no_tiles(goal):
    assert (ruleset_of(HOLD | {"goal": goal}).goal == np.array(goal)).all()


def test_a_full_grid_keeps_its_walls():
    """As many objects as there is room for, with the agent on the last free cell."""
    env, params = make_env("xland/XLand-MiniGrid-R4-9x9", raw=True, max_rules=0, num_distractors=33)
    _, state = jax.jit(env.reset)(jax.random.key(0), params)
    inside = np.ones((9, 9), bool)
    inside[::4] = inside[:, ::4] = False
    tiles, agent = np.array(state.inner.grid)[..., 0], tuple(np.array(state.inner.agent.position))
    assert np.isin(tiles[~inside], (Tiles.WALL, Tiles.DOOR_CLOSED)).all()
    assert inside.sum() == 33 + 2 + 1 and inside[agent] and tiles[agent] == Tiles.FLOOR


@functools.cache
def draw(split):
    keys = jax.random.split(jax.random.key(5), 400)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(Rulesets(3, 2, split).draw))(keys))


def named_by_goal(goals):
    return {tuple(tile) for goal in goals for tile in (goal[1:3], goal[3:5]) if tile.any()}


def test_no_goal_of_training_is_held_out():
    """Nor is the same goal with its two objects the other way round."""
    seen = {split: named_by_goal(draw(split).goal) for split in ("train", "heldout", "all")}
    assert not seen["train"] & seen["heldout"]
    assert len(seen["heldout"]) == 15 and len(seen["train"]) == 45 and len(seen["all"]) == 60 == len(OBJECTS)


def test_all_kinds_of_goals_and_rules_are_drawn():
    rulesets = draw("all")
    assert set(rulesets.goal[:, 0]) == {1, 3, 4}
    numbers = (rulesets.rules[..., 0] > 0).sum(1)
    assert set(rulesets.rules[..., 0].ravel()) == {0, 1, 2, 3} and set(numbers) == {0, 1, 2, 3}
    assert abs(np.bincount(numbers) / 400 - 0.25).max() < 0.08


def test_every_ruleset_can_be_solved():
    """Applying the package's own rules to the objects laid out, from the last rule to the first, reaches the goal."""
    floor = np.array([1, 7], np.uint8)
    position = jnp.array([1, 1])

    @jax.jit
    def apply(rules, goal, grid, pocket, action, target):
        agent = AgentState(position=position, direction=jnp.asarray(1), pocket=pocket)
        grid, agent = check_rule(rules, grid, agent, action, target)
        return grid, agent.pocket, check_goal(goal, grid, agent, action, target)

    rulesets = jax.tree.map(lambda x: x[:60], draw("all"))
    for goal, rules, tiles in zip(*(getattr(rulesets, name) for name in ("goal", "rules", "init_tiles")), strict=True):
        have = [tuple(tile) for tile in tiles if tile.any()]
        assert len(set(have)) == len(have)

        def act(kind, tile, partner, rules=rules, goal=goal, have=have):
            """Do what fires a rule or goal of this kind: what became of the tile, and was it the goal?"""
            assert tuple(tile) in have
            have.remove(tuple(tile))
            grid, pocket = np.tile(floor, (4, 4, 1)), np.zeros(2, np.uint8)
            if kind == 1:  # pick up
                _, result, reached = apply(rules, goal, grid, tile, 3, position)
            elif kind in (2, 3):  # come near
                grid[1, 2] = tile
                grid, _, reached = apply(rules, goal, grid, pocket, 0, position)
                result = grid[1, 2]
            else:  # put down next to the partner, which is at the right of it
                assert tuple(partner) in have
                have.remove(tuple(partner))
                grid[1, 2], grid[1, 3] = tile, partner
                grid, _, reached = apply(rules, goal, grid, pocket, 4, jnp.array([1, 2]))
                result = grid[1, 3]
            have.append(tuple(np.asarray(result)))
            return tuple(np.asarray(result)), bool(reached)

        for rule in rules[::-1]:
            if rule[0] == 0:
                continue
            product = rule[5:7] if rule[0] == 3 else rule[3:5]
            if tuple(product) in have:  # an earlier rule fired at the same moment
                continue
            result, _ = act({1: 1, 2: 2, 3: 4}[rule[0]], rule[1:3], rule[3:5])
            assert (
                result == tuple(product)
                or result in [tuple(later[1:3]) for later in rules]
                or result == tuple(goal[1:3])
            )
        _, reached = act(goal[0], goal[1:3], goal[3:5])
        assert reached


def test_trials_keep_their_ruleset_and_differ():
    env, params = make_env("xland/Meta-R1-9x9", raw=True, max_steps=3, episodes=2, split="heldout")
    reset, step = jax.jit(env.reset), jax.jit(env.step)
    tasks, steps = [], 0
    obs, state = reset(jax.random.key(0), params)
    for t in range(12):
        before = state.task
        obs, state, _, terminated, truncated, _ = step(jax.random.key(t), state, 1, params)
        steps += 1
        assert not truncated
        if terminated:
            assert steps == 6  # turning round reaches no goal: two attempts of three steps
            tasks.append(before)
            steps = 0
        else:
            assert jax.tree.all(jax.tree.map(lambda x, y: (x == y).all(), before, state.task))
    assert len(tasks) == 2 and not (tasks[0].goal == tasks[1].goal).all()


def test_training(tmp_path):
    assert_trains("xland/MiniGrid-MemoryS8", tmp_path)


@pytest.mark.slow
def test_training_on_trials(tmp_path):
    assert_trains("xland/Meta-R1-9x9", tmp_path)
