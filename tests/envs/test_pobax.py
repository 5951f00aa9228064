"""RockSample and Compass World: rules by scripted walks, and policies that know or find out."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.memory.compass_world import BLUE, EAST, GREEN, NORTH, NOTHING, ORANGE, SOUTH, WEST, CompassWorld
from rlformers.envs.memory.compass_world import State as Pose
from rlformers.envs.memory.rock_sample import RockSample, State
from rlformers.envs.registry import make_env
from tools.references import compass_world as compass
from tools.references.rock_sample import mean_discounted_return, visit_all

KEY = jax.random.key(0)
UP, RIGHT, DOWN, LEFT, SAMPLE = range(5)


@pytest.fixture(scope="module")
def small():
    env = RockSample(size=4, rocks=2)
    env.places = np.array([[1, 0], [2, 2]], np.int32)
    return env, jax.jit(env.step_env)


def test_the_rover_moves_and_leaves(small):
    env, step = small
    state, seen = State(jnp.array([0, 0]), jnp.array([True, False]), jnp.int32(0)), []
    for action in (UP, LEFT, DOWN, DOWN, RIGHT, RIGHT, RIGHT):
        obs, state, reward, terminated, _ = step(KEY, state, action, env.default_params)
        assert obs[8:].tolist() == [0, 0]
        row, column = obs[:8].reshape(2, 4).argmax(1).tolist()
        seen.append((row, column, float(reward), bool(terminated)))
    where = [(0, 0), (0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (2, 3)]
    assert seen == [(*place, 0, False) for place in where[:-1]] + [(2, 3, 10, True)]


def test_good_rocks_pay_once(small):
    env, step = small
    state, rewards = State(jnp.array([1, 0]), jnp.array([True, False]), jnp.int32(0)), []
    for action in (SAMPLE, SAMPLE, RIGHT, SAMPLE, DOWN, RIGHT, SAMPLE):
        _, state, reward, terminated, _ = step(KEY, state, action, env.default_params)
        rewards.append(float(reward))
        assert not terminated
    assert rewards == [10, -10, 0, 0, 0, 0, -10] and not state.good.any()


def test_checks_are_right_as_often_as_they_are_near():
    env = RockSample(size=15, rocks=2)
    env.places = np.array([[0, 0], [12, 9]], np.int32)
    keys = jax.random.split(KEY, 4000)
    step = jax.jit(jax.vmap(env.step_env, (0, None, None, None)))
    state = State(jnp.array([0, 0]), jnp.array([True, False]), jnp.int32(0))
    for rock, good, distance in ((0, 1, 0), (1, -1, 15)):
        obs, after, rewards, _, _ = step(keys, state, 5 + rock, env.default_params)
        said = obs[:, 30:]
        assert (np.abs(said[:, rock]) == 1).all() and not said[:, 1 - rock].any() and not rewards.any()
        assert (after.good == state.good).all() and (after.position == 0).all()
        right = (1 + 2 ** (-distance / 20)) / 2
        assert float((said[:, rock] == good).mean()) == pytest.approx(
            right, abs=4 * (right * (1 - right) / 4000) ** 0.5
        )


@pytest.mark.parametrize(("name", "rocks"), [("11-11", 11), ("15-15", 15)])
def test_who_visits_all_rocks_takes_all_that_pay(name, rocks):
    env, params = make_env(f"memory/RockSample-{name}", raw=True)
    assert env.rocks == rocks and env.observation_space(params).shape == (3 * rocks,)
    assert len(np.unique(env.places, axis=0)) == rocks and env.places[:, 1].max() < rocks - 1
    step, reset = jax.jit(env.step_env), jax.jit(env.reset_env)
    for seed in range(3):
        obs, state = reset(jax.random.key(seed), params)
        paying = int(state.good.sum())
        observations, actions, total, ended = [np.asarray(obs)], [], 0.0, False
        while not ended:
            actions.append(visit_all(env, observations, actions))
            obs, state, reward, ended, _ = step(jax.random.key(len(actions)), state, actions[-1], params)
            observations.append(np.asarray(obs))
            total += float(reward)
        assert total == 10 + 10 * paying and not env.is_truncated(state, params)
    assert env.is_truncated(state._replace(time=jnp.int32(1000)), params)


def test_the_discounted_optimum_equals_trying_all_orders():
    env, discount = RockSample(size=5, rocks=3, layout=1), 0.9
    best = []
    for start in itertools.product(range(5), range(4)):
        for good in itertools.product((False, True), repeat=3):
            rocks = [rock for rock in range(3) if good[rock]]
            returns = []
            for number in range(len(rocks) + 1):
                for order in itertools.permutations(rocks, number):
                    place, time, total = np.array(start), 0, 0.0
                    for rock in order:
                        time += int(np.abs(env.places[rock] - place).sum())
                        total += 10 * discount**time
                        place, time = env.places[rock], time + 1
                    time += 4 - int(place[1]) - 1
                    returns.append(total + 10 * discount**time)
            best.append(max(returns))
    assert mean_discounted_return(env, discount) == pytest.approx(np.mean(best))
    assert mean_discounted_return(env, 1.0) == pytest.approx(10 + 15)


def test_rovers_start_anywhere_but_at_the_exit():
    env = RockSample(size=3, rocks=2)
    states = jax.vmap(env.reset_env, (0, None))(jax.random.split(KEY, 2000), env.default_params)[1]
    places, counts = np.unique(np.asarray(states.position), axis=0, return_counts=True)
    assert places.tolist() == [[row, column] for row in range(3) for column in range(2)]
    assert abs(counts / 2000 - 1 / 6).max() < 0.035
    np.testing.assert_allclose(np.asarray(states.good).mean(0), 0.5, atol=0.045)


def test_compass_world():
    env = CompassWorld(size=3)
    params = env.default_params
    state, seen = Pose(jnp.array([1, 1]), jnp.int32(NORTH), jnp.int32(0)), []
    for action in (0, 0, 2, 1, 1, 0, 1, 0, 0, 1, 0, 0):
        obs, state, reward, terminated, _ = env.step_env(KEY, state, action, params)
        seen.append((int(obs), *state.position.tolist(), int(state.facing), float(reward), bool(terminated)))
    yellow, red = ORANGE + EAST, ORANGE + SOUTH
    assert seen == [
        (ORANGE, 0, 1, NORTH, 0, False),
        (ORANGE, 0, 1, NORTH, 0, False),
        (NOTHING, 0, 1, WEST, 0, False),
        (ORANGE, 0, 1, NORTH, 0, False),
        (NOTHING, 0, 1, EAST, 0, False),
        (yellow, 0, 2, EAST, 0, False),
        (NOTHING, 0, 2, SOUTH, 0, False),
        (NOTHING, 1, 2, SOUTH, 0, False),
        (red, 2, 2, SOUTH, 0, False),
        (NOTHING, 2, 2, WEST, 0, False),
        (NOTHING, 2, 1, WEST, 0, False),
        (BLUE, 2, 0, WEST, 0, False),
    ]
    obs, _, reward, terminated, _ = env.step_env(
        KEY, Pose(jnp.array([0, 0]), jnp.int32(NORTH), jnp.int32(0)), 2, params
    )
    assert (obs, reward, terminated) == (GREEN, 1, True)
    assert env.is_truncated(state._replace(time=jnp.int32(50)), params) and not env.is_truncated(state, params)


def test_compass_world_starts_anywhere_but_at_the_goal():
    env = CompassWorld(size=2)
    poses = jax.vmap(env.reset_env, (0, None))(jax.random.split(KEY, 3000), env.default_params)[1]
    numbers = np.asarray((poses.position @ jnp.array([2, 1])) * 4 + poses.facing)
    assert set(numbers.tolist()) == set(range(16)) - {WEST}
    assert abs(np.bincount(numbers) / 3000 - (np.arange(16) != WEST) / 15).max() < 0.02


def test_fewest_steps_in_compass_world():
    steps = compass.steps_if_known(3)
    assert steps[0, 0].tolist() == [1, 2, 1, 0] and steps[0, 2].tolist() == [3, 4, 3, 2]
    assert steps[2, 0].tolist() == [3, 4, 5, 4]
    assert compass.without_start(2) == pytest.approx(compass.steps_if_known(2).sum() / 15)


def test_the_walker_finds_green_from_everywhere():
    env = CompassWorld()
    params, step, fewest = env.default_params, jax.jit(env.step_env), compass.steps_if_known(6)
    longest, total = 0, 0
    for row, column, facing in itertools.product(range(6), range(6), range(4)):
        if (row, column, facing) == (0, 0, WEST):
            continue
        walker, state = compass.Walker(), Pose(jnp.array([row, column]), jnp.int32(facing), jnp.int32(0))
        seen, ended = int(env._see(state)), False
        while not ended:
            obs, state, reward, ended, _ = step(KEY, state, walker.act(seen), params)
            seen = int(obs)
        assert reward == 1 and int(state.time) >= fewest[row, column, facing]
        longest, total = max(longest, int(state.time)), total + int(state.time)
    assert longest == 18 and total / 143 == pytest.approx(9.48, abs=0.01)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("RockSample-11-11", {"size": 1}, r"env_kwargs\.size: need at least 2, got 1"),
        (
            "RockSample-11-11",
            {"rocks": 111},
            r"env_kwargs\.rocks: need 1 <= rocks <= size \* \(size - 1\) = 110, got 111",
        ),
        ("RockSample-11-11", {"layout": -1}, r"env_kwargs\.layout: need at least 0, got -1"),
        ("CompassWorld", {"size": 1}, r"env_kwargs\.size: need at least 2, got 1"),
    ],
)
def test_arguments(name, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_env(f"memory/{name}", **kwargs)
