"""Random projections: their distribution, what they do to observations and actions, and when they are drawn anew."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draws import tasks

from rlformers.envs import spaces
from rlformers.envs.environment import Environment, EnvParams
from rlformers.envs.meta.dark_room import DarkRoom
from rlformers.envs.meta.projected_cartpole import projected_cartpole
from rlformers.envs.registry import make_env, replace_params
from rlformers.envs.rendering.render import innermost
from rlformers.envs.wrappers import TimeLimit
from rlformers.envs.wrappers.random_projection import RandomProjection, orthonormal_columns
from rlformers.envs.wrappers.trial import Trial


@pytest.mark.parametrize("rows,columns", [(4, 2), (12, 12), (5, 1)])
def test_columns_are_orthonormal_and_uniform(rows, columns):
    keys = jax.random.split(jax.random.key(0), 500)
    matrices = np.asarray(jax.jit(jax.vmap(lambda key: orthonormal_columns(key, rows, columns)))(keys))
    gram = np.einsum("nij,nik->njk", matrices, matrices)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(columns), gram.shape), atol=2e-6)
    # Every entry of a uniformly distributed column has mean 0 and variance 1 / rows.
    np.testing.assert_allclose(matrices.mean(0), 0, atol=5 * (rows * 500) ** -0.5)
    np.testing.assert_allclose(matrices.var(0), 1 / rows, rtol=0.4)


class Point(Environment):
    """Shows a constant vector, and hands the actions that arrive to info."""

    def __init__(self, actions):
        self.actions = actions

    default_params = EnvParams()

    def reset_env(self, key, params):
        return jnp.array([1.0, 2.0, 3.0]), jnp.zeros(())

    def step_env(self, key, state, action, params):
        return jnp.array([1.0, 2.0, 3.0]), state, jnp.zeros(()), jnp.zeros((), bool), {"action": action}

    def is_truncated(self, state, params):
        return jnp.zeros((), bool)

    def action_space(self, params=None):
        return self.actions

    def observation_space(self, params):
        return spaces.Box(-3.0, 3.0, (3,))


def through(env, task, action):
    _, state = env.reset_env(jax.random.key(0), task)
    obs, _, _, _, info = jax.jit(env.step_env)(jax.random.key(0), state, action, task)
    return obs, info["action"]


def test_observations_and_actions_are_projected():
    env = RandomProjection(Point(spaces.Box(0.0, 4.0, (2,))), observation_size=6, action_size=3)
    assert env.observation_space(env.default_params).shape == (6,)
    assert env.action_space().shape == (3,) and float(env.action_space().low) == -1
    task = env.sample_task(jax.random.key(3), env.default_params)
    np.testing.assert_allclose(task.observation.T @ task.observation, 2 * np.eye(3), atol=1e-5)
    np.testing.assert_allclose(task.action @ task.action.T, np.eye(2), atol=1e-6)
    action = jnp.array([0.2, -0.1, 0.3])
    obs, arrived = through(env, task, action)
    np.testing.assert_allclose(obs, task.observation @ jnp.array([1.0, 2.0, 3.0]), rtol=1e-6)
    np.testing.assert_allclose(arrived, 2 + 2 * np.asarray(task.action) @ action, rtol=1e-5)
    _, arrived = through(env, task, 100 * task.action[0])
    assert arrived[0] == 4 and 0 <= arrived[1] <= 4

    gaussian = RandomProjection(Point(spaces.Box(0.0, 4.0, (2,))), 6, 3, distribution="gaussian")
    (drawn,) = tasks(gaussian, num=2000)
    assert float(drawn.observation.var()) == pytest.approx(1 / 3, rel=0.05)
    assert float(drawn.action.var()) == pytest.approx(1 / 3, rel=0.05)


def test_discrete_actions_change_places():
    env = RandomProjection(Point(spaces.Discrete(3)))
    drawn = tasks(env, num=200)[0].action
    assert {tuple(p) for p in drawn.tolist()} == {(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)}
    task = env.sample_task(jax.random.key(0), env.default_params)._replace(action=jnp.array([2, 0, 1]))
    assert [int(through(env, task, action)[1]) for action in range(3)] == [2, 0, 1]

    env = RandomProjection(Point(spaces.MultiDiscrete((2, 3))))
    task = env.sample_task(jax.random.key(0), env.default_params)
    task = task._replace(action=(jnp.array([1, 0]), jnp.array([2, 0, 1])))
    assert through(env, task, jnp.array([0, 2]))[1].tolist() == [1, 1]

    env = RandomProjection(Point(spaces.Discrete(3)), project_actions=False)
    task = env.sample_task(jax.random.key(0), env.default_params)
    assert task.action is None and int(through(env, task, 2)[1]) == 2


def play(env, num_steps, params=None):
    """Observations (the first included) and states of automatic resets, and `terminated | truncated` of every step."""
    params = params or env.default_params

    def step(carry, key):
        obs, state, _, terminated, truncated, info = env.step(key, carry, jnp.zeros((), jnp.int32), params)
        return state, (obs, state, terminated | truncated, info)

    first = env.reset(jax.random.key(0), params)
    _, (*later, done, info) = jax.lax.scan(step, first[1], jax.random.split(jax.random.key(1), num_steps))
    obs, states = jax.tree.map(lambda one, rest: np.concatenate([one[None], rest]), first, tuple(later))
    return obs, states, done.tolist(), info


def test_outside_of_a_trial_every_episode_has_a_projection_of_its_own():
    obs, _, done, info = play(RandomProjection(TimeLimit(Point(spaces.Discrete(50)), 2)), 5)
    assert done == [False, True, False, True, False]
    np.testing.assert_array_equal(obs[[0, 2, 4]], obs[[1, 3, 5]])
    assert len({tuple(row) for row in obs[[0, 2, 4]].tolist()}) == 3
    # M is the square root of 2 times orthonormal columns.
    np.testing.assert_allclose(np.linalg.norm(obs, axis=1), (2 * 14) ** 0.5, rtol=1e-5)
    np.testing.assert_array_equal(info["final_observation"][1::2], obs[[1, 3]])
    arrived = info["action"].tolist()
    assert arrived[0] == arrived[1] and arrived[2] == arrived[3] and len(set(arrived)) == 3


def test_a_projection_takes_the_params_of_an_environment_without_tasks():
    inner, params = make_env("gymnax/CartPole-v1", raw=True)
    _, states, done, _ = play(RandomProjection(inner), 4, replace_params(params, max_steps_in_episode=2))
    assert done == [False, True] * 2 and states.projection.task is None
    assert states.env_state.time.tolist() == [0, 1, 0, 1, 0]


def test_a_projection_draws_the_task_of_the_environment_too_but_not_that_of_trials_inside():
    _, states, done, _ = play(RandomProjection(DarkRoom(5, episode_length=3)), 30)
    goals = [{tuple(goal) for goal in states.projection.task.goal[3 * i : 3 * i + 3].tolist()} for i in range(10)]
    assert done == [False, False, True] * 10
    assert all(len(goal) == 1 for goal in goals) and len(set().union(*goals)) > 4

    trial = RandomProjection(Trial(DarkRoom(), episodes=2))
    _, state = jax.eval_shape(trial.reset, jax.random.key(0), trial.default_params)
    assert state.projection.task is None and state.env_state.task.goal.shape == (2,)


def test_the_environment_inside_a_projection_is_found_with_its_params():
    inner, params = make_env("gymnax/CartPole-v1", raw=True)
    env = RandomProjection(inner)
    _, state = jax.eval_shape(env.reset, jax.random.key(0), params)
    assert innermost(env, state, params)[1:] == (state.env_state, params)
    trial = Trial(env, episodes=2)
    _, state = jax.eval_shape(trial.reset, jax.random.key(0), params)
    assert innermost(trial, state, params)[1:] == (state.env_state, state.task.task)


@pytest.mark.parametrize(
    "actions,kwargs,message",
    [
        (spaces.Box(-jnp.inf, jnp.inf, (2,)), {}, "need actions that are vectors with finite bounds"),
        (spaces.Box(0.0, 1.0, (2,)), {"action_size": 1}, "action_size: need at least 2"),
        (spaces.Discrete(2), {"action_size": 4}, "no continuous actions"),
        (spaces.Dict({}), {}, "cannot project the actions"),
    ],
)
def test_impossible_projections_are_refused(actions, kwargs, message):
    with pytest.raises(ValueError, match=rf"env_kwargs\.\w+: .*{message}|{message}"):
        RandomProjection(Point(actions), **kwargs)


def test_a_mask_of_actions_is_not_projected_away():
    env = Point(spaces.Discrete(3))
    env.observation_space = lambda params: spaces.Dict(
        {"a": spaces.Box(0, 1, (2,)), "action_mask": spaces.Box(0, 1, (3,))}
    )
    with pytest.raises(ValueError, match="Point shows an action_mask"):
        RandomProjection(env)


def test_projections_are_isometries_whose_signs_are_fair():
    matrices = np.asarray(tasks(projected_cartpole())[0].observation)
    gram = np.einsum("nij,nik->njk", matrices, matrices)
    np.testing.assert_allclose(gram, np.broadcast_to(2 * np.eye(2), gram.shape), atol=1e-5)
    assert abs((matrices[:, 0, :2] >= 0).all(1).mean() - 0.25) < 0.07


def test_rescaled_positions_are_of_one_size():
    env = projected_cartpole()
    inner = env.env
    space = inner.observation_space(inner.default_params)
    np.testing.assert_allclose(space.high, 1)
    np.testing.assert_allclose(space.low, -1)
    obs, state = inner.reset_env(jax.random.key(0), inner.default_params)
    np.testing.assert_allclose(obs, [state.x / 4.8, state.theta / (24 / 180 * np.pi)], rtol=1e-5)
