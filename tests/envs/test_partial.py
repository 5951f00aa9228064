"""Wrappers for partial observability, on a world whose every step can be counted by hand."""

import inspect
import re
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from rlformers.config import WrapConfig
from rlformers.config.compose import compose
from rlformers.config.schema import ProjectionConfig
from rlformers.envs import spaces
from rlformers.envs.environment import Environment, Wrapper, never_truncates
from rlformers.envs.registry import BUILT_IN, make_env, replace_params
from rlformers.envs.wrappers import EpisodeStart, PreviousAction, RewardInput, TimeLimit, TruncationTerminates
from rlformers.envs.wrappers.flatten import Flatten
from rlformers.envs.wrappers.keywords import wrap
from rlformers.envs.wrappers.partial_observability import Delay, Flicker, FrameDrop, Mask, Noise, PeriodicObservation
from rlformers.envs.wrappers.random_projection import RandomProjection
from rlformers.envs.wrappers.timing import ActionRepeat, RewardDelay

VECTOR = spaces.Box(jnp.array([0.0, -1.0, 2.0, -3.0]), jnp.array([100.0, 1.0, 5.0, 3.0]), (4,))
NESTED = spaces.Dict(
    {
        "where": spaces.Box(1.0, 200.0, (2,)),
        "what": spaces.Tuple([spaces.Discrete(100), spaces.MultiDiscrete([100, 7])]),
        "action_mask": spaces.Box(0, 1, (5,), jnp.bool_),
    }
)


def show_vector(time):
    return jnp.stack([time, 0, 3, 1]).astype(jnp.float32)


def show_nested(time):
    what = (time, jnp.stack([time, 2]))
    return {"where": 1.0 + jnp.full(2, time, jnp.float32), "what": what, "action_mask": jnp.arange(5) <= time}


class CountState(NamedTuple):
    time: jax.Array


@struct.dataclass
class CountParams:
    end: int = 5
    max_steps_in_episode: int = 100


class Count(Environment):
    """Shows the number of steps made in this episode; pays the action; terminates after `end` steps."""

    def __init__(self, space=None, show=lambda time: time):
        self.space, self.show = space or spaces.Discrete(100), show

    default_params = CountParams()

    def reset_env(self, key, params):
        return self.show(jnp.int32(0)), CountState(jnp.int32(0))

    def step_env(self, key, state, action, params):
        state = CountState(state.time + 1)
        info = {"twice": 2 * state.time}
        return self.show(state.time), state, jnp.float32(action), state.time >= params.end, info

    def action_space(self, params=None):
        return spaces.Discrete(5)

    def observation_space(self, params):
        return self.space


def walk(env, actions, params=None, seed=0):
    """Observations, the first one included, and per step reward, terminated, truncated, info, in one scan."""
    params = params or env.default_params
    obs, state = env.reset(jax.random.key(seed), params)

    def step(state, inputs):
        obs, state, *rest = env.step(*inputs[:1], state, inputs[1], params)
        return state, (obs, *rest)

    keys = jax.random.split(jax.random.key(seed + 1), len(actions))
    _, (later, *rest) = jax.lax.scan(step, state, (keys, jnp.asarray(actions)))
    return jax.tree.map(lambda first, rest: np.concatenate([first[None], rest]), obs, later), *rest


def in_space(env, obs, params=None):
    space = env.observation_space(params or env.default_params)
    for leaf, part in spaces.leaves(space, obs):
        assert part.shape[1:] == leaf.shape and part.dtype == leaf.dtype
        assert jax.vmap(leaf.contains)(part).all()


@pytest.mark.parametrize("hidden,left", [([1, 3], [7, 3]), ([0], [0, 3, 1])])
def test_masked_entries_are_gone_from_observation_and_space(hidden, left):
    env = Mask(Count(VECTOR, show_vector), hidden)
    obs, _, terminated, _, info = walk(env, [0] * 8, CountParams(end=7))
    in_space(env, obs)
    np.testing.assert_array_equal(info["final_observation"][6], left)
    np.testing.assert_array_equal(obs[7], [0, *left[1:]] if 0 not in hidden else left)
    assert terminated[6]


def test_integers_can_be_masked():
    env = Mask(Count(spaces.MultiDiscrete([9, 2, 3]), lambda time: jnp.stack([time, 1, 2])), [0])
    assert env.observation_space(env.default_params).nvec == (2, 3)
    np.testing.assert_array_equal(walk(env, [0])[0], [[1, 2]] * 2)


@pytest.mark.parametrize(
    "name,word,kept",
    [
        ("CartPole-v1", "velocities", [0, 2]),
        ("CartPole-v1", "positions", [1, 3]),
        ("Pendulum-v1", "velocities", [0, 1]),
        ("Acrobot-v1", "velocities", [0, 1, 2, 3]),
        ("MountainCar-v0", "velocities", [0]),
        ("MountainCarContinuous-v0", "positions", [1]),
    ],
)
def test_named_masks(name, word, kept):
    assert make_env(f"gymnax/{name}", raw=True, wrap={"mask": word})[0].kept.tolist() == kept


@pytest.mark.parametrize(
    "around",
    [Flatten, PreviousAction, lambda env: Noise(env, 0.1), lambda env: EpisodeStart(Flatten(TimeLimit(env, 3)))],
)
def test_names_are_known_behind_wrappers_that_leave_entries_in_their_places(around):
    env, _ = make_env("gymnax/CartPole-v1", raw=True)
    assert Mask(around(env), "velocities").kept.tolist() == [0, 2]
    with pytest.raises(ValueError, match="velocities of .* are not known"):
        Mask(Flatten(PreviousAction(env)), "velocities")


@pytest.mark.parametrize("hidden", [np.array([1, 3]), jnp.array([3, 1]), (np.int64(1), 3), range(1, 4, 2)], ids=str)
def test_indices_may_be_any_integers(hidden):
    assert Mask(make_env("gymnax/CartPole-v1")[0], hidden).kept.tolist() == [0, 2]


@pytest.mark.parametrize("hidden", [np.array([True]), np.array([1.0]), np.array(1), np.array([[1]]), [-1]], ids=str)
def test_arrays_of_anything_else_are_refused(hidden):
    with pytest.raises(ValueError, match=r"wrap\.mask: need velocities, positions, or a list"):
        Mask(make_env("gymnax/CartPole-v1")[0], hidden)


def test_the_names_are_those_of_the_unmasked_observation():
    env, _ = make_env("gymnax/CartPole-v1", raw=True, wrap={"mask": "velocities"})
    with pytest.raises(ValueError, match="velocities of .* are not known"):
        Mask(env, "velocities")
    assert Mask(TimeLimit(env.env, 3), "velocities").kept.tolist() == [0, 2]


def test_noise_has_its_spread_and_leaves_integers_alone():
    env = Noise(Count(NESTED, show_nested), 0.5)
    obs, *_ = walk(env, [0] * 999, CountParams(end=5))
    time = np.arange(1000) % 5
    noise = obs["observation"]["where"] - 1 - time[:, None]
    assert noise.std() == pytest.approx(0.5, rel=0.05) and abs(noise.mean()) < 0.04
    pairs = (noise[:, 0], noise[:, 1]), (noise[1:, 0], noise[:-1, 0])
    assert all(abs(np.corrcoef(*pair)[0, 1]) < 0.1 for pair in pairs)
    np.testing.assert_array_equal(obs["observation"]["what"][0], time)
    np.testing.assert_array_equal(obs["action_mask"], np.arange(5) <= time[:, None])
    in_space(env, obs)


def test_flicker_blanks_everything_but_the_mask_and_says_so():
    env = Flicker(EpisodeStart(Count(NESTED, show_nested)), 0.25, flag=True)
    obs, _, _, _, info = walk(env, [0] * 999, CountParams(end=5))
    in_space(env, obs)
    seen, time = obs["seen"].astype(bool), np.arange(1000) % 5
    assert 0.7 < seen.mean() < 0.8 and 0.6 < seen[time == 0].mean() < 0.9
    where, (what, two) = obs["observation"]["where"], obs["observation"]["what"]
    np.testing.assert_array_equal(where, np.where(seen, 1 + time, 0)[:, None].repeat(2, 1))
    np.testing.assert_array_equal(what, np.where(seen, time, 100))
    np.testing.assert_array_equal(two, np.where(seen[:, None], np.stack([time, 2 + 0 * time], 1), [100, 7]))
    np.testing.assert_array_equal(obs["action_mask"], np.arange(5) <= time[:, None])
    np.testing.assert_array_equal(obs["start"], time == 0)
    final = info["final_observation"]
    going_on = (np.arange(999) % 5) != 4
    np.testing.assert_array_equal(final["seen"][going_on], obs["seen"][1:][going_on])
    ends = ~going_on
    np.testing.assert_array_equal(final["observation"]["what"][0][ends], np.where(final["seen"][ends], 5, 100))


def test_every_kth_observation_is_seen_from_the_start_of_each_episode():
    env = PeriodicObservation(Count(), 3, flag=True)
    obs, _, _, _, info = walk(env, [0] * 9)
    assert obs["observation"].tolist() == [0, 100, 100, 3, 100, 0, 100, 100, 3, 100]
    assert obs["seen"].tolist() == [1, 0, 0, 1, 0] * 2
    assert info["final_observation"]["observation"].tolist()[4] == 100
    assert walk(PeriodicObservation(Count(), 5), [0] * 5)[-1]["final_observation"].tolist()[4] == 5


def test_lost_observations_show_the_last_one_of_the_same_episode():
    env = FrameDrop(Count(), 0.4, flag=True)
    obs, *_ = walk(env, [0] * 999)
    seen, expected = obs["seen"].astype(bool), []
    for t in range(1000):
        expected.append(t % 5 if seen[t] else expected[-1])
    assert obs["observation"].tolist() == expected
    assert seen[::5].all() and 0.5 < seen[np.arange(1000) % 5 > 0].mean() < 0.7


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_delayed_observations_start_with_the_first_of_the_episode(steps):
    obs, _, _, _, info = walk(Delay(Count(), steps), [0] * 9)
    assert obs.tolist() == [max(0, t % 5 - steps) for t in range(10)]
    assert info["final_observation"].tolist()[4] == max(0, 5 - steps)


def test_flags_of_several_wrappers_are_one():
    env = PeriodicObservation(FrameDrop(Count(), 0.5, flag=True), 2, flag=True)
    obs, *_ = walk(env, [0] * 99)
    assert set(obs) == {"observation", "seen"}
    assert not obs["seen"][np.arange(100) % 5 % 2 == 1].any() and 0 < obs["seen"][np.arange(100) % 5 == 2].mean() < 1


def test_an_action_repeats_until_the_episode_ends():
    env = ActionRepeat(Count(), 3)
    obs, reward, terminated, truncated, info = walk(env, [1, 2, 3, 4])
    assert obs.tolist() == [0, 3, 0, 3, 0] and reward.tolist() == [3, 4, 9, 8]
    assert terminated.tolist() == [False, True] * 2 and not truncated.any()
    assert info["twice"].tolist() == [6, 10] * 2 and info["final_observation"].tolist() == [3, 5] * 2


@pytest.mark.parametrize("limit", [lambda env: TimeLimit(env, 4), lambda env: env])
def test_time_limits_inside_a_repeated_action_truncate(limit):
    env = limit(Count())
    params = CountParams(max_steps_in_episode=4 if isinstance(env, Count) else 100)
    _, reward, terminated, truncated, info = walk(ActionRepeat(env, 3), [1, 1, 1, 1], params)
    assert truncated.tolist() == [False, True] * 2 and not terminated.any()
    assert reward.tolist() == [3, 1, 3, 1] and info["final_observation"].tolist() == [3, 4, 3, 4]


@pytest.mark.parametrize("steps,paid", [(1, [0, 1, 2, 3, 9]), (2, [0, 0, 1, 2, 12]), (7, [0, 0, 0, 0, 15])])
def test_late_rewards_keep_the_return(steps, paid):
    _, reward, terminated, _, _ = walk(RewardDelay(Count(), steps), [1, 2, 3, 4, 5] * 2)
    assert reward.tolist() == paid * 2 and terminated[4] and terminated[9]
    _, reward, _, truncated, _ = walk(RewardDelay(TimeLimit(Count(), 3), 2), [1, 2, 3] * 2)
    assert reward.tolist() == [0, 0, 6] * 2 and truncated[2] and truncated[5]


def test_all_together_in_the_order_of_the_config():
    projection = ProjectionConfig("orthogonal", 3, None, False)
    config = WrapConfig(2, 4, [1], projection, 0.1, 1, 0.2, 0.3, 2, True, 3, "terminates", True, True, True)
    env = wrap(Count(VECTOR, show_vector), **asdict(config))
    order = []
    while env.__class__ is not Count:
        order.append(type(env))
        env = env.env
    assert order[:4] == [EpisodeStart, RewardInput, PreviousAction, TruncationTerminates]
    assert order[4:9] == [RewardDelay, PeriodicObservation, Flicker, FrameDrop, Delay]
    assert order[9:] == [Noise, RandomProjection, Mask, TimeLimit, ActionRepeat]
    names = [*inspect.signature(wrap).parameters.values()][1:-1]  # `around` is not the user's
    assert {name.name: name.default for name in names} == asdict(WrapConfig()) | {"projection": None}
    inside, outside = list(inspect.signature(RandomProjection).parameters.values()), asdict(ProjectionConfig())
    assert {name.name for name in inside} - {"env", "split"} == set(outside)
    env = Flatten(wrap(Count(VECTOR, show_vector), **asdict(config)))
    obs, reward, terminated, truncated, _ = walk(env, [1, 2, 3] * 2)
    assert obs.shape == (7, 3 + 1 + 5 + 1 + 1) and obs.dtype == np.float32
    assert obs[:, 9].tolist() == [0, 0, 0, 0, 0, 0, 0] and obs[:, 10].tolist() == [1, 0, 0, 1, 0, 0, 1]
    assert reward.tolist() == [0, 0, 9] * 2 and terminated.tolist() == [False, False, True] * 2


def test_defaults_wrap_nothing_and_wrappers_are_honest_about_truncation():
    env = Count()
    assert wrap(env, **asdict(WrapConfig())) is env
    env, _ = make_env("memory/TMaze", wrap={"delay": 2, "flicker": 0.5, "reward_delay": 2, "action_repeat": 2})
    assert never_truncates(env)


def test_the_learner_sees_no_truncation_where_a_time_limit_terminates():
    env, params = make_env("gymnax/CartPole-v1", wrap={"truncation": "terminates"})
    assert never_truncates(env) and not never_truncates(make_env("gymnax/CartPole-v1")[0])
    _, _, terminated, truncated, _ = walk(env, [0, 1] * 3, replace_params(params, max_steps_in_episode=3))
    assert terminated.tolist() == [False, False, True] * 2 and not truncated.any()


TRUNCATING = {name: entry for name, entry in BUILT_IN.items() if not entry.extra and "MNIST" not in name}


@pytest.mark.parametrize("name", [name for name, entry in TRUNCATING.items() if entry.truncation == "terminates"])
def test_finite_horizons_terminate_unless_something_else_is_said(name):
    """Those that are listed do truncate by themselves: else there would be nothing to list."""
    (raw, params), (env, _) = make_env(name, raw=True), make_env(name)
    told, _ = make_env(name, wrap={"truncation": "bootstraps", "reward_input": True})
    auto, _ = make_env(name, wrap={"truncation": None, "reward_input": True})
    assert never_truncates(env) and never_truncates(auto)
    assert not never_truncates(raw) and not never_truncates(told)
    last = jax.tree.map(jnp.asarray, raw.reset(jax.random.key(0), params)[1])
    steps = (getattr(raw, "max_steps", None) or params.max_steps_in_episode) - 1
    last = (
        last._replace(time=jnp.full_like(last.time, steps))
        if hasattr(last, "_replace")
        else last.replace(time=jnp.full_like(last.time, steps))
    )
    actions = [environment.action_space(params).sample(jax.random.key(1)) for environment in (raw, env)]
    *_, terminated, truncated, _ = raw.step(jax.random.key(2), last, actions[0], params)
    assert truncated and not terminated
    inner = env
    while isinstance(inner, Wrapper) and not isinstance(inner, TruncationTerminates):
        inner = inner.env
    *_, terminated, truncated, _ = inner.step(jax.random.key(2), last, actions[0], params)
    assert terminated and not truncated


def test_which_horizons_are_finite_is_what_the_docs_say():
    docs = (Path(__file__).parents[2] / "docs/envs/popgym.md").read_text()
    rows = dict(re.findall(r"^\| ([\w, ]+) \|.*\| (finite horizon|time limit|-) \|", docs, re.M))
    stated = {family: kind for families, kind in rows.items() for family in families.split(", ")}
    ours = {name.removeprefix("popgym/"): entry for name, entry in BUILT_IN.items() if name.startswith("popgym/")}
    assert len(stated) == 16 and len(ours) == 48
    for name, entry in ours.items():
        kind = stated[re.sub("(Easy|Medium|Hard)$", "", name)]
        assert (entry.truncation == "terminates") == (kind == "finite horizon"), name
        assert never_truncates(make_env(f"popgym/{name}")[0]) == (kind != "time limit"), name
    for name in ("gymnax/CartPole-v1", "gymnax/Pendulum-v1", "memory/RockSample-11-11", "memory/CompassWorld"):
        assert not never_truncates(make_env(name)[0]), name


def test_a_limit_of_the_users_own_is_a_limit_also_of_a_finite_horizon():
    env, params = make_env("popgym/MultiarmedBanditEasy")
    limited = TimeLimit(env, 3)
    _, _, terminated, truncated, _ = walk(limited, [0] * 6, params)
    assert truncated.tolist() == [False, False, True] * 2 and not terminated.any()


def test_what_the_learner_makes_of_ends_changes_no_scores():
    from rlformers.experiment.reports.groups import _wrapped

    assert _wrapped({"truncation": "bootstraps", "noise": 0.0, "projection.project_actions": True}, {}) == {}
    assert _wrapped({"time_limit": 5}, {"episodes": 2}) == {"time_limit": 5, "episodes": 2}


def test_what_the_agent_is_told_of_the_step_before():
    told = {"previous_action": True, "reward_input": True, "episode_start": True, "flicker": 0.999}
    obs, reward, *_ = walk(make_env("gymnax/CartPole-v1", wrap=told)[0], [1, 0, 1])
    assert obs.shape == (4, 4 + 2 + 1 + 1) and not obs[:, :4].any()
    np.testing.assert_array_equal(obs[:, 4:6], [[1, 0], [0, 1], [1, 0], [0, 1]])
    assert obs[:, 6].tolist() == [0, *reward] == [0, 1, 1, 1] and obs[:, 7].tolist() == [1, 0, 0, 0]
    env, params = make_env("popgym/RepeatPreviousEasy", wrap=told | {"flicker": 0.0})
    assert env.observation_space(params).shape == (4 + 4 + 1 + 1,)  # action and flag once, popgym's


def test_popgyms_previous_action_is_always_seen():
    env, params = make_env("popgym/RepeatPreviousEasy", wrap={"flicker": 0.999})
    obs, _ = env.reset(jax.random.key(0), params)
    assert obs.shape == (10,) and obs.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    "name,options,words",
    [
        ("gymnax/CartPole-v1", {"mask": [0, 4]}, ["wrap.mask", "0 to 3", "[0, 4]"]),
        ("gymnax/CartPole-v1", {"mask": [0, 1, 2, 3]}, ["wrap.mask", "not all"]),
        ("gymnax/CartPole-v1", {"mask": []}, ["wrap.mask", "[]"]),
        ("gymnax/CartPole-v1", {"mask": 3}, ["wrap.mask", "got 3"]),
        ("gymnax/CartPole-v1", {"mask": [True]}, ["wrap.mask", "[True]"]),
        ("gymnax/CartPole-v1", {"mask": "speeds"}, ["wrap.mask", "velocities, positions", "'speeds'"]),
        ("gymnax/Catch-bsuite", {"mask": "velocities"}, ["wrap.mask", "Catch", "vector"]),
        ("gymnax/PointRobot-misc", {"mask": "velocities"}, ["wrap.mask", "PointRobot", "not known"]),
        ("popgym/RepeatFirstEasy", {"noise": 0.1}, ["wrap.noise", "Discrete(4"]),
        ("gymnax/CartPole-v1", {"noise": -0.1}, ["wrap.noise", "-0.1"]),
        ("gymnax/CartPole-v1", {"flicker": 1.5}, ["wrap.flicker", "1.5"]),
        ("gymnax/CartPole-v1", {"frame_drop": -1.0}, ["wrap.frame_drop", "-1.0"]),
        ("gymnax/CartPole-v1", {"period": 0}, ["wrap.period", "at least 1"]),
        ("gymnax/CartPole-v1", {"delay": -1}, ["wrap.delay", "-1"]),
        ("gymnax/CartPole-v1", {"action_repeat": 0}, ["wrap.action_repeat", "at least 1"]),
        ("gymnax/CartPole-v1", {"reward_delay": -3}, ["wrap.reward_delay", "-3"]),
        ("gymnax/CartPole-v1", {"truncation": "ends"}, ["wrap.truncation", "bootstraps, terminates", "'ends'"]),
        ("gymnax/CartPole-v1", {"flag": True}, ["wrap.flag", "wrap.flicker"]),
        ("gymnax/CartPole-v1", {"blur": 1}, ["wrap.blur", "noise"]),
    ],
)
def test_mistakes_are_one_line_that_names_the_key(name, options, words):
    with pytest.raises(ValueError) as error:
        make_env(name, wrap=options)
    assert "\n" not in str(error.value) and all(word in str(error.value) for word in words), error.value


def test_the_page_has_every_key_in_order_and_valid_commands():
    page = (Path(__file__).parents[2] / "docs/envs/partial.md").read_text()
    assert re.findall(r"^\| `wrap\.(\w+)(?:\.distribution)?` \|", page, re.M) == list(asdict(WrapConfig()))
    commands = re.findall(r"^    rlformers train (.*)$", page, re.M)
    assert len(commands) == 5
    for command in commands:
        compose([word.partition(",")[0] for word in command.split() if word != "--multirun"])


def test_params_reach_the_wrapped_environment():
    env, params = make_env("gymnax/CartPole-v1", wrap={"mask": "velocities", "noise": 0.1})
    assert replace_params(params, max_steps_in_episode=7).max_steps_in_episode == 7
    assert env.observation_space(params).shape == (2,)
