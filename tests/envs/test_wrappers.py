"""Wrappers on a world whose every step can be counted by hand."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from rlformers.envs import spaces
from rlformers.envs.environment import Environment, never_truncates
from rlformers.envs.registry import make_env
from rlformers.envs.wrappers import (
    EpisodeStart,
    EpisodeStatistics,
    PreviousAction,
    RewardInput,
    TimeLimit,
    TruncationTerminates,
)
from rlformers.envs.wrappers.flatten import Flatten, OneHot


class CountState(NamedTuple):
    time: jax.Array


@struct.dataclass
class CountParams:
    end: int = 3


class Count(Environment):
    """Observes the number of steps made; pays the action; terminates after `end` steps."""

    never_truncates = True

    def __init__(self, space=None, actions=None, observe=lambda time: time):
        self.space, self.actions, self.show = space or spaces.Discrete(10), actions or spaces.Discrete(5), observe

    default_params = CountParams()

    def reset_env(self, key, params):
        return self.show(jnp.int32(0)), CountState(jnp.int32(0))

    def step_env(self, key, state, action, params):
        state = CountState(state.time + 1)
        reward = jnp.sum(jnp.asarray(jax.tree.leaves(action)[0])).astype(jnp.float32)
        return self.show(state.time), state, reward, state.time >= params.end, {}

    def is_truncated(self, state, params):
        return jnp.zeros((), bool)

    def action_space(self, params=None):
        return self.actions

    def observation_space(self, params):
        return self.space


def walk(env, actions, params=None):
    """Observations (the first one included), and per step the rest."""
    params = params or env.default_params
    obs, state = env.reset(jax.random.key(0), params)
    observations, steps = [obs], []
    for action in actions:
        obs, state, *rest = env.step(jax.random.key(1), state, action, params)
        observations.append(obs)
        steps.append(rest)
    return observations, steps


def test_the_start_flag_is_one_exactly_at_the_start_of_episodes():
    observations, steps = walk(EpisodeStart(Count()), [1] * 7)
    assert [float(obs["start"]) for obs in observations] == [1, 0, 0, 1, 0, 0, 1, 0]
    assert [int(obs["observation"]) for obs in observations] == [0, 1, 2, 0, 1, 2, 0, 1]
    finals = [step[-1]["final_observation"] for step in steps]
    assert all(float(final["start"]) == 0 for final in finals)
    assert [int(final["observation"]) for final in finals] == [1, 2, 3, 1, 2, 3, 1]


def test_the_previous_action_never_outlives_its_episode():
    observations, steps = walk(PreviousAction(Count()), [1, 2, 3, 4])
    assert list(observations[0]) == ["observation", "previous_action", "start"]
    assert [int(obs["previous_action"]) for obs in observations] == [0, 1, 2, 0, 4]
    assert [float(obs["start"]) for obs in observations] == [1, 0, 0, 1, 0]
    assert int(steps[2][-1]["final_observation"]["previous_action"]) == 3
    assert "start" not in walk(PreviousAction(Count(), start_flag=False), [])[0][0]


def test_the_previous_reward_never_outlives_its_episode():
    env = RewardInput(Count())
    observations, steps = walk(env, [1, 2, 3, 4])
    assert list(observations[0]) == list(env.observation_space(CountParams()).spaces)
    assert [float(obs["previous_reward"]) for obs in observations] == [0, 1, 2, 0, 4]
    assert [int(obs["observation"]) for obs in observations] == [0, 1, 2, 0, 1]
    assert float(steps[2][-1]["final_observation"]["previous_reward"]) == 3


def test_inputs_stand_side_by_side_in_any_order():
    names = {EpisodeStart: "start", RewardInput: "previous_reward", PreviousAction: "previous_action"}
    for order in (list(names), list(names)[::-1]):
        env = Count()
        for wrapper in order:
            env = wrapper(env)
        obs = walk(env, [4])[0][1]
        assert set(obs) == {"observation", *names.values()}
        assert (int(obs["previous_action"]), float(obs["previous_reward"]), float(obs["start"])) == (4, 4, 0)


def test_a_null_action_outside_the_box_is_its_lowest():
    env = PreviousAction(Count(actions=spaces.Box(1.0, 2.0, (2,))))
    np.testing.assert_array_equal(walk(env, [])[0][0]["previous_action"], [1, 1])


def test_a_time_limit_truncates_and_restarts_its_count():
    env = EpisodeStatistics(TimeLimit(Count(), 2))
    assert not never_truncates(env) and never_truncates(EpisodeStatistics(Count()))
    _, steps = walk(env, [1, 2, 3, 4, 0])
    terminated, truncated = ([bool(step[i]) for step in steps] for i in (1, 2))
    assert terminated == [False] * 5 and truncated == [False, True, False, True, False]
    assert [float(step[-1]["episode_return"]) for step in steps] == [1, 3, 3, 7, 0]
    assert [int(step[-1]["episode_length"]) for step in steps] == [1, 2, 1, 2, 1]


def test_the_inner_end_comes_before_a_longer_time_limit():
    _, steps = walk(TimeLimit(Count(), 4), [0] * 6)
    assert [bool(step[1]) for step in steps] == [False, False, True] * 2
    assert not any(bool(step[2]) for step in steps)
    _, steps = walk(TimeLimit(Count(), 3), [0] * 3)
    assert bool(steps[2][1]) and bool(steps[2][2])
    with pytest.raises(ValueError, match="max_steps"):
        TimeLimit(Count(), 0)


def test_a_truncation_can_be_reported_as_a_termination():
    env = TruncationTerminates(TimeLimit(Count(), 2))
    assert never_truncates(env) and not never_truncates(env.env)
    _, steps = walk(env, [0] * 5)
    assert [bool(step[1]) for step in steps] == [False, True, False, True, False]
    assert not any(bool(step[2]) for step in steps)
    assert int(steps[1][-1]["final_observation"]) == 2
    _, steps = walk(TruncationTerminates(Count()), [0] * 4)
    assert [bool(step[1]) for step in steps] == [False, False, True, False]


def test_statistics_keep_their_types():
    state = jax.eval_shape(EpisodeStatistics(Count()).reset, jax.random.key(0), CountParams())[1]
    assert (state.episode_return.dtype, state.episode_length.dtype) == (jnp.float32, jnp.int32)


def test_vectors_pass_unchanged():
    space = spaces.Box(-1.0, 1.0, (3,))
    env = Flatten(Count(space, observe=lambda time: jnp.full((3,), time, jnp.float32)))
    assert env.observation_space(env.default_params) is space
    np.testing.assert_array_equal(walk(env, [0])[0][1], [1, 1, 1])


@pytest.mark.parametrize("with_mask", [False, True])
def test_images_and_masks_stay_apart(with_mask):
    mask = {"action_mask": spaces.Box(0, 1, (5,), jnp.bool_)} if with_mask else {}
    space = spaces.Dict({"see": spaces.Box(0, 255, (4, 4, 3), jnp.uint8), "count": spaces.Discrete(3), **mask})

    def show(time):
        parts = {"see": jnp.zeros((4, 4, 3), jnp.uint8), "count": time % 3, "action_mask": jnp.arange(5) > time}
        return {key: parts[key] for key in space.spaces}

    env = Flatten(PreviousAction(Count(space, observe=show)))
    flat = env.observation_space(env.default_params)
    obs = walk(env, [2])[0][1]
    assert set(obs) == set(flat.spaces) == {"image", "vector", *mask}
    assert all((obs[key].shape, obs[key].dtype) == (part.shape, part.dtype) for key, part in flat.spaces.items())
    np.testing.assert_array_equal(obs["vector"], [0, 1, 0, 0, 0, 1, 0, 0, 0])
    if with_mask:
        np.testing.assert_array_equal(obs["action_mask"], np.arange(5) > 1)


def test_integers_become_one_hot_wherever_they_stand():
    inner = spaces.Dict(
        {"one": spaces.Discrete(4), "two": spaces.Tuple([spaces.MultiDiscrete([2, 3]), spaces.Box(0, 9, (2,))])}
    )
    show = lambda time: {"one": time, "two": (jnp.stack([time % 2, 2]), jnp.full(2, time, jnp.float32))}  # noqa: E731
    env = OneHot(Count(inner, observe=show))
    space, obs = env.observation_space(CountParams()), walk(env, [0])[0][1]
    assert spaces.text(space) == "Dict(one: Box(4), two: Tuple(Box(5), Box(2)))"
    assert [leaf.tolist() for leaf in jax.tree.leaves(obs)] == [[0, 1, 0, 0], [0, 1, 0, 0, 1], [1, 1]]
    assert all(leaf.contains(part) and part.dtype == leaf.dtype for leaf, part in spaces.leaves(space, obs))
    np.testing.assert_array_equal(walk(OneHot(Count()), [0])[0][1], walk(Flatten(Count()), [0])[0][1])


def test_an_image_alone_stays_an_image():
    env, params = make_env("gymnax/Breakout-MinAtar")
    assert env.observation_space(params).shape == (10, 10, 4)
    assert env.reset(jax.random.key(0), params)[0].shape == (10, 10, 4)
