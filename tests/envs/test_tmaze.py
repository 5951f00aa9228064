"""T-mazes: every observation and reward of scripted walks."""

import jax
import numpy as np
import pytest

from rlformers.envs.registry import make_env, replace_params

RIGHT, UP, LEFT, DOWN = range(4)


def walk(name, length, actions, seed=0):
    """Raw observations with the first one, rewards, and terminated flags; the side of the goal."""
    env, params = make_env(name, raw=True)
    params = replace_params(params, length=length)
    obs, state = env.reset_env(jax.random.key(seed), params)
    observations, rewards, ends = [obs.tolist()], [], []
    goal = int(state.goal_y)
    step = jax.jit(env.step_env)
    for action in actions:
        obs, state, reward, terminated, _ = step(jax.random.key(0), state, action, params)
        observations.append(obs.tolist())
        rewards.append(float(reward))
        ends.append(bool(terminated))
    return observations, rewards, ends, goal


@pytest.mark.parametrize("turn", [UP, DOWN])
@pytest.mark.parametrize("seed", range(4))
def test_passive(turn, seed):
    observations, rewards, ends, goal = walk("memory/TMaze", 3, [RIGHT] * 3 + [turn], seed)
    y = 1 if turn == UP else -1
    assert observations == [[0, goal], [0, 0], [0, 0], [1, 0], [1, y]]
    assert ends == [False] * 3 + [True]
    assert rewards == [0, 0, 0, float(y == goal)]


@pytest.mark.parametrize("turn", [UP, DOWN])
def test_active(turn):
    observations, rewards, ends, goal = walk("memory/ActiveTMaze", 2, [LEFT] + [RIGHT] * 3 + [turn])
    y = 1 if turn == UP else -1
    assert observations == [[0, 0], [0, goal], [0, 0], [0, 0], [1, 0], [1, y]]
    assert ends == [False] * 4 + [True]
    assert rewards == [0, 0, 0, 0, float(y == goal)]


def test_both_goals_occur():
    assert {walk("memory/TMaze", 1, [], seed)[3] for seed in range(12)} == {1, -1}


def test_falling_behind_costs_and_the_oracle_speaks_once():
    observations, rewards, _, _ = walk("memory/TMaze", 4, [LEFT, UP, RIGHT, LEFT])
    assert observations[1:] == [[0, 0]] * 4
    np.testing.assert_allclose(rewards, [-1 / 4] * 4)
    _, rewards, _, _ = walk("memory/ActiveTMaze", 4, [UP, LEFT, RIGHT])
    np.testing.assert_allclose(rewards, [0, -1 / 4, -1 / 4])


def test_walls_hold_at_the_junction():
    observations, rewards, ends, _ = walk("memory/TMaze", 1, [RIGHT])
    assert observations[-1] == [1, 0] and rewards == [0] and ends == [False]
    observations, _, _, goal = walk("memory/ActiveTMaze", 1, [RIGHT, UP, UP, RIGHT])
    assert observations == [[0, 0], [1, 0], [1, 1], [1, 1], [1, 1]]
    observations, *_ = walk("memory/ActiveTMaze", 3, [RIGHT] * 4 + [UP, DOWN])
    assert observations[-2:] == [[1, 1], [1, 0]]


def test_a_corridor_has_a_length():
    with pytest.raises(ValueError, match=r"env_params\.length: need at least 1"):
        replace_params(make_env("memory/TMaze")[1], length=0)
