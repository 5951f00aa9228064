"""Mortar Mayhem and Mystery Path: rules by scripted walks, and policies that remember."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.memory.mortar_mayhem import COMMANDS, MortarMayhem
from rlformers.envs.memory.mortar_mayhem import State as Field
from rlformers.envs.memory.mystery_path import MysteryPath, State
from rlformers.envs.memory.turtle import EAST, NORTH, SOUTH, WEST, Pose, move
from rlformers.envs.registry import make_env
from tools.references.mortar_mayhem import Soldier, turn_to
from tools.references.mystery_path import Walker

KEY = jax.random.key(0)
STAY, LEFT, RIGHT, FORWARD = range(4)


def test_turning_and_walking():
    pose, seen = Pose(jnp.array([1, 1]), jnp.int32(NORTH)), []
    for action in (FORWARD, FORWARD, LEFT, FORWARD, LEFT, FORWARD, LEFT, LEFT, RIGHT, FORWARD, STAY):
        pose = move(pose, action, 3)
        seen.append((*pose.position.tolist(), int(pose.facing)))
    assert seen == [
        (1, 0, NORTH),
        (1, 0, NORTH),
        (1, 0, WEST),
        (0, 0, WEST),
        (0, 0, SOUTH),
        (0, 1, SOUTH),
        (0, 1, EAST),
        (0, 1, NORTH),
        (0, 1, EAST),
        (1, 1, EAST),
        (1, 1, EAST),
    ]
    assert [turn_to(NORTH, way) for way in (NORTH, WEST, SOUTH, EAST)] == [FORWARD, LEFT, LEFT, RIGHT]


def field(start, commands):
    targets = np.add(start, COMMANDS[np.array(commands)].cumsum(0))
    pose = Pose(jnp.array(start), jnp.int32(NORTH))
    return Field(pose, jnp.array(commands, jnp.int32), jnp.array(targets, jnp.int32), jnp.int32(0))


def run(env, state, actions):
    step, seen = jax.jit(env.step_env), []
    for action in actions:
        obs, state, reward, terminated, _ = step(KEY, state, action, env.default_params)
        seen.append((*obs.tolist(), round(float(reward), 3), bool(terminated)))
    return seen


def test_mortar_mayhem_step_by_step():
    env = MortarMayhem(num_commands=2, size=3, show_duration=2, show_delay=1, explosion_delay=2, explosion_duration=2)
    state = field((1, 1), (3, 2))  # up, left
    actions = [FORWARD] * 5 + [STAY, STAY, FORWARD, STAY, LEFT, FORWARD, STAY]
    assert run(env, state, actions) == [
        (1, 1, NORTH, 4, 0, 0, False),  # the command up, which the reset showed first
        (1, 1, NORTH, 0, 0, 0, False),
        (1, 1, NORTH, 3, 0, 0, False),  # left
        (1, 1, NORTH, 3, 0, 0, False),
        (1, 1, NORTH, 0, 0, 0, False),
        (1, 1, NORTH, 0, 0, 0, False),  # the first move
        (1, 1, NORTH, 0, 0, 0, False),
        (1, 0, NORTH, 0, 1, 0.5, False),  # the third, in which the others explode
        (1, 0, NORTH, 0, 1, 0, False),
        (1, 0, WEST, 0, 0, 0, False),  # and no more
        (0, 0, WEST, 0, 0, 0, False),
        (0, 0, WEST, 0, 1, 0.5, True),
    ]


@pytest.mark.parametrize(
    ("actions", "length"),
    [
        ([STAY] * 8, 8),
        ([FORWARD] * 5 + [FORWARD, STAY, STAY, LEFT, FORWARD], None),
        ([STAY] * 7 + [FORWARD, LEFT], None),
    ],
)
def test_who_stands_in_an_explosion_dies(actions, length):
    env = MortarMayhem(num_commands=2, size=3, show_duration=2, show_delay=1, explosion_delay=2, explosion_duration=2)
    seen = run(env, field((1, 1), (3, 2)), actions)
    assert [row[-1] for row in seen] == [number + 1 == length for number in range(len(actions))]
    # Until the last step of an explosion one is not to leave the cell.
    seen = run(env, field((1, 1), (4, 4)), [STAY] * 8 + [FORWARD])
    assert [row[-1] for row in seen] == [False] * 8 + [True] and seen[7][-2] == 0.5


def test_commands_never_lead_into_walls_and_are_uniform_over_the_others():
    env = MortarMayhem(num_commands=4, size=2)
    states = jax.jit(jax.vmap(env.reset_env, (0, None)))(jax.random.split(KEY, 4000), env.default_params)[1]
    targets, commands = np.asarray(states.targets), np.asarray(states.commands)
    assert (targets >= 0).all() and (targets < 2).all()
    starts = np.asarray(states.pose.position)
    np.testing.assert_array_equal(targets, starts[:, None] + COMMANDS[commands].cumsum(1))
    corner = commands[(starts == 0).all(1), 0]
    assert set(corner.tolist()) == {0, 1, 4} and abs(np.bincount(corner)[[0, 1, 4]] / len(corner) - 1 / 3).max() < 0.06
    assert abs(starts.mean(0) - 0.5).max() < 0.04


def episode(env, params, policy, seed):
    step = jax.jit(env.step_env)
    obs, state = env.reset_env(jax.random.key(seed), params)
    total, length, ended = 0.0, 0, False
    while not ended:
        obs, state, reward, ended, _ = step(KEY, state, policy(state).act(np.asarray(obs)), params)
        total, length = total + float(reward), length + 1
    return total, length


def test_who_remembers_all_commands_survives():
    env, params = make_env("memory/MortarMayhem", raw=True)
    for seed in range(3):
        soldier = Soldier(env)
        total, length = episode(env, params, lambda state, soldier=soldier: soldier, seed)
        assert total == pytest.approx(1) and length == 118  # Memory Gym counts the reset, too: 119


def test_mystery_path_step_by_step():
    env = MysteryPath(size=3, max_steps=9, progress=0.25)
    path = jnp.array([[True, False, False], [True, True, False], [False, True, False]])
    start, goal = jnp.array([0, 0]), jnp.array([2, 1])
    nowhere, no = jnp.zeros((3, 3), bool), jnp.bool_(False)
    state = State(Pose(start, jnp.int32(EAST)), path, start, goal, nowhere, no, jnp.int32(0))
    actions = [FORWARD, FORWARD, FORWARD, FORWARD, RIGHT, FORWARD, LEFT, FORWARD]
    ends = (0, 0, 2, 1)
    assert run(env, state, actions) == [
        (1, 0, EAST, 0, *ends, 0.25, False),
        (2, 0, EAST, 1, *ends, 0, False),
        (0, 0, EAST, 0, *ends, 0, False),  # back, whatever the action
        (1, 0, EAST, 0, *ends, 0, False),  # pays once
        (1, 0, SOUTH, 0, *ends, 0, False),
        (1, 1, SOUTH, 0, *ends, 0.25, False),
        (1, 1, EAST, 0, *ends, 0, False),
        (2, 1, EAST, 0, *ends, 1, True),
    ]
    assert [row[-1] for row in run(env, state, [STAY] * 9)] == [False] * 8 + [True]


@pytest.fixture(scope="module")
def paths():
    env = MysteryPath()
    states = jax.jit(jax.vmap(env.reset_env, (0, None)))(jax.random.split(KEY, 2000), env.default_params)[1]
    return jax.tree.map(np.asarray, states)


def test_paths_lead_across(paths):
    assert (np.abs(paths.start - paths.goal).max(1) == 6).all() and (paths.pose.position == paths.start).all()
    rows = np.arange(2000)
    assert paths.path[rows, *paths.start.T].all() and paths.path[rows, *paths.goal.T].all()
    padded = np.pad(paths.path, ((0, 0), (1, 1), (1, 1))).astype(int)
    neighbours = padded[:, 2:, 1:-1] + padded[:, :-2, 1:-1] + padded[:, 1:-1, 2:] + padded[:, 1:-1, :-2]
    ends = np.zeros_like(paths.path)
    ends[rows, *paths.start.T] = ends[rows, *paths.goal.T] = True
    # A path that does not branch or touch itself: two neighbours each, one at its ends.
    assert (neighbours[paths.path & ~ends] == 2).all() and (neighbours[ends] == 1).all()
    length = paths.path.sum((1, 2))
    assert length.min() == 7 and length.max() <= 13 and length.mean() == pytest.approx(9.9, abs=0.4)
    sides = [(paths.start[:, axis] == edge).mean() for axis in (0, 1) for edge in (0, 6)]
    assert min(sides) > 0.25 and max(sides) < 0.42  # a quarter, and corners are on two sides


def test_who_knows_the_path_walks_it():
    env, params = make_env("memory/MysteryPath", raw=True)
    for seed in range(3):
        path = np.argwhere(np.asarray(env.reset_env(jax.random.key(seed), params)[1].path)).tolist()
        walker = Walker(7, [(x, y) for x, y in path])
        total, length = episode(env, params, lambda state, walker=walker: walker, seed)
        assert total == 1 and len(path) - 1 <= length <= 3 * len(path)


def test_who_remembers_falls_finds_the_path():
    env, params = make_env("memory/MysteryPath", raw=True)
    outcomes = []
    for seed in range(12):
        walker = Walker(7)
        outcomes.append(episode(env, params, lambda state, walker=walker: walker, seed))
    assert sum(total for total, _ in outcomes) >= 11 and min(length for _, length in outcomes) < 60


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("MortarMayhem", {"num_commands": 0}, r"env_kwargs\.num_commands: need at least 1, got 0"),
        ("MortarMayhem", {"show_delay": -1}, r"env_kwargs\.show_delay: need at least 0, got -1"),
        ("MysteryPath", {"size": 1}, r"env_kwargs\.size: need at least 2, got 1"),
        ("MysteryPath", {"progress": -0.5}, r"env_kwargs\.progress: need at least 0, got -0\.5"),
    ],
)
def test_arguments(name, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_env(f"memory/{name}", **kwargs)
