"""Environments of Gymnasium on the host: what they do, and what their states refuse to do."""

import json
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.command.main import main
from rlformers.envs import check
from rlformers.envs.environment import UNLIMITED, TimedParams
from rlformers.envs.registry import make_env, register_env
from rlformers.envs.spaces import Box, Discrete, MultiDiscrete, leaves
from rlformers.envs.wrappers import EpisodeStatistics, TimeLimit
from rlformers.envs.wrappers.timing import ActionRepeat
from rlformers.envs.wrappers.trial import Trial

gymnasium = pytest.importorskip("gymnasium", reason="pip install 'rlformers[gymnasium]'")

from rlformers.envs.adapters.host.environment import GymnasiumHost  # noqa: E402
from rlformers.envs.adapters.host.spaces import convert, decode, encode  # noqa: E402

SMALL = ["ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", "model.width=8", "core=mlp"]
SMALL += ["wandb.mode=disabled"]


class Counter(gymnasium.Env):
    """Counts its resets and steps; an episode of seed s terminates after 3 + s % 4 steps, or after `truncates`."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float64)
    action_space = gymnasium.spaces.Discrete(3, start=-1)
    resets = 0

    def __init__(self, truncates=100):
        self.truncates = truncates

    def reset(self, *, seed=None, options=None):
        type(self).resets += 1
        self.seed, self.time, self.total = seed % 1000, 0, 0
        return self._see(), {}

    def step(self, action):
        assert action in self.action_space
        self.time, self.total = self.time + 1, self.total + int(action)
        done = self.time >= 3 + self.seed % 4
        return self._see(), float(action), done, self.time >= self.truncates and not done, {}

    def _see(self):
        return np.array([self.seed, self.time, self.total, self.seed % 4], np.float64)


class Parts(gymnasium.Env):
    """Shows its seed, time and last action in a Dict with a Tuple; `order` is that of the keys of the Dict."""

    action_space = gymnasium.spaces.Dict(
        push=gymnasium.spaces.Discrete(3, start=1), turn=gymnasium.spaces.Box(-1, 1, (), np.float64)
    )

    def __init__(self, order="ab"):
        scalar, whole = gymnasium.spaces.Box(-1, 1, (), np.float64), gymnasium.spaces.Discrete(4)
        spaces = {"a": gymnasium.spaces.Tuple([scalar, whole]), "b": gymnasium.spaces.Box(0, 999, (2,), np.float32)}
        self.observation_space = gymnasium.spaces.Dict(OrderedDict((key, spaces[key]) for key in order))

    def reset(self, *, seed=None, options=None):
        self.seed, self.time = seed % 1000, 0
        return self._see({"push": 1, "turn": 0.0}), {}

    def step(self, action):
        assert action in self.action_space
        self.time += 1
        return self._see(action), 0.0, self.time == 5, False, {}

    def _see(self, action):
        return {"b": np.array([self.seed, self.time], np.float32), "a": (np.asarray(action["turn"]), action["push"])}


@pytest.fixture(autouse=True, scope="module")
def registered():
    gymnasium.register("rlformers/Counter-v0", Counter)
    gymnasium.register("rlformers/Parts-v0", Parts, max_episode_steps=20)
    yield
    del gymnasium.registry["rlformers/Counter-v0"]
    del gymnasium.registry["rlformers/Parts-v0"]


def rollout(env, params, key, num_envs, num_steps, seeds=1):
    """Actions, observations, final ones, rewards and ends, [S, T, B], of a scan in which all copies are vmapped."""

    def play(key):
        obs, state = jax.vmap(env.reset, (0, None))(jax.random.split(key, num_envs), params)

        def step(carry, key):
            keys = jax.random.split(key, num_envs)
            action = jax.vmap(env.action_space(params).sample)(keys)
            obs, state, reward, terminated, truncated, info = jax.vmap(env.step, (0, 0, 0, None))(
                keys, carry, action, params
            )
            return state, (action, obs, info["final_observation"], reward, terminated, truncated)

        return obs, jax.lax.scan(step, state, jax.random.split(key, num_steps))[1]

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(play))(jax.random.split(key, seeds)))


@pytest.mark.parametrize(
    "name,kwargs",
    [
        ("CartPole-v1", {}),
        ("rlformers/Counter-v0", {}),
        ("FrozenLake-v1", {}),
        ("Blackjack-v1", {}),
        ("rlformers/Parts-v0", {"order": "ab"}),
        ("rlformers/Parts-v0", {"order": "ba"}),
    ],
)
def test_keeps_the_protocol(name, kwargs):
    report = check(f"gymnasium/{name}", num_envs=2, num_steps=16, **kwargs)
    assert report.ok, report


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_observations_of_parts_are_those_of_the_host(order):
    env, params = make_env("gymnasium/rlformers/Parts-v0", raw=True, order=order)
    assert list(env.observation_space(params).spaces) == list(order)
    seed = int(jax.random.bits(jax.random.key(0), (), jnp.uint32)) % 1000
    obs, state = env.reset(jax.random.key(0), params)
    assert jax.tree.map(lambda x: x.tolist(), obs) == {"a": (0.0, 1), "b": [seed, 0]}
    action = {"turn": jnp.float32(-0.5), "push": jnp.int32(1)}  # the second of 1, 2, 3
    obs, *_ = env.step_env(jax.random.key(1), state, action, params)
    assert jax.tree.map(lambda x: x.tolist(), obs) == {"a": (-0.5, 2), "b": [seed, 1]}
    flat, params = make_env("gymnasium/rlformers/Parts-v0", order=order)
    vector, _ = flat.reset(jax.random.key(0), params)
    a, b = [0, 0, 1, 0, 0], [seed, 0]  # a number and a one-hot, and two numbers
    assert vector.tolist() == (a + b if order == "ab" else b + a)


@pytest.mark.filterwarnings("ignore:.*Using the latest versioned environment")
@pytest.mark.parametrize("env_id", ["gymnasium.envs.classic_control:CartPole-v1", "CartPole"])
def test_ids_with_a_module_or_without_a_version(env_id):
    env, params = make_env(f"gymnasium/{env_id}", raw=True)
    assert params.max_steps_in_episode == gymnasium.spec("CartPole-v1").max_episode_steps == 500
    assert env.slots.make().spec.id == "CartPole-v1" and env.velocities == (1, 3)


@pytest.mark.filterwarnings("ignore:.*Using the latest versioned environment")
def test_every_copy_is_what_the_first_was(monkeypatch):
    """An id without a version means the newest one when the environment is built, and from then on."""
    env = GymnasiumHost("rlformers/Parts")
    newer = gymnasium.envs.registration.EnvSpec("rlformers/Parts-v1", Counter)
    monkeypatch.setitem(gymnasium.registry, newer.id, newer)
    assert isinstance(env.slots.make().unwrapped, Parts)


def test_every_copy_and_seed_is_the_environment_stepped_by_hand():
    first, (action, obs, final, reward, terminated, truncated) = rollout(
        GymnasiumHost("CartPole-v1"), TimedParams(20), jax.random.key(1), num_envs=3, num_steps=60, seeds=2
    )
    assert terminated.any() and truncated.any()
    assert not np.array_equal(first[0], first[1]) and len({*first[..., 0].ravel().tolist()}) == 6
    env = gymnasium.make("CartPole-v1").unwrapped
    for s, b in np.ndindex(2, 3):
        present, time = first[s, b], 0
        for t in range(60):
            env.reset()
            env.state = present.astype(np.float64)  # float32, as it was seen: a step is short enough
            expected, paid, ends, _, _ = env.step(int(action[s, t, b]))
            np.testing.assert_allclose(final[s, t, b], expected, rtol=1e-5, atol=1e-5)
            time += 1
            assert reward[s, t, b] == paid and terminated[s, t, b] == ends
            assert truncated[s, t, b] == (time == 20)
            if terminated[s, t, b] | truncated[s, t, b]:
                assert np.abs(obs[s, t, b]).max() <= 0.05, "a first observation is drawn from -0.05 .. 0.05"
                time = 0
            else:
                np.testing.assert_array_equal(obs[s, t, b], final[s, t, b])
            present = obs[s, t, b]


def test_an_episode_is_that_of_its_seed():
    """The whole episode, not only single steps, is the one that Gymnasium plays from the seed of the key."""
    env, key = GymnasiumHost("CartPole-v1"), jax.random.key(5)
    obs, state = env.reset(key, env.default_params)
    theirs = gymnasium.make("CartPole-v1")
    expected, _ = theirs.reset(seed=int(jax.random.bits(key, (), jnp.uint32)))
    np.testing.assert_array_equal(obs, expected)
    t, terminated = 0, False
    while not terminated:  # a pole that is pushed to and fro falls soon
        action = t // 2 % 2
        expected, _, terminated, _, _ = theirs.step(action)
        _, state, _, ended, _, info = env.step(jax.random.key(t), state, jnp.int32(action), env.default_params)
        np.testing.assert_array_equal(info["final_observation"], expected)
        assert ended == terminated
        t += 1
    assert 10 < t < 100


def test_resets_happen_only_where_an_episode_ended():
    Counter.resets = 0
    env = EpisodeStatistics(TimeLimit(GymnasiumHost("rlformers/Counter-v0"), 5))
    _, (_, obs, final, _, terminated, truncated) = rollout(env, TimedParams(UNLIMITED), jax.random.key(2), 4, 40)
    ends = terminated | truncated
    assert terminated.any() and truncated.any() and Counter.resets == 4 + ends.sum()
    assert len(env.env.env.slots.slots) == 4
    assert (obs[..., 1] == np.where(ends, 0, final[..., 1])).all()
    assert (final[..., 1] == np.where(terminated, 3 + final[..., 3], final[..., 1])).all() and final[..., 1].max() == 5


def test_its_own_truncation_truncates():
    env = GymnasiumHost("rlformers/Counter-v0", truncates=2)
    _, (_, _, final, _, terminated, truncated) = rollout(env, env.default_params, jax.random.key(2), 3, 10)
    assert not terminated.any() and (truncated == (final[..., 1] == 2)).all() and truncated.sum() == 15


def test_trials_and_repeated_actions_reset_where_they_must():
    Counter.resets = 0
    env = Trial(ActionRepeat(GymnasiumHost("rlformers/Counter-v0"), 2), episodes=2)
    _, (_, obs, _, _, terminated, _) = rollout(env, env.default_params, jax.random.key(3), 2, 30)
    inner = obs["episode_end"].sum() + terminated.sum()  # after a trial, the flags are those of the next one
    assert terminated.any() and Counter.resets == 2 + inner + terminated.sum()


def step(env, state, action, key=0):
    return env.step_env(jax.random.key(key), state, jnp.int32(action), env.default_params)


def test_states_have_one_future():
    env = GymnasiumHost("rlformers/Counter-v0")
    _, first = env.reset(jax.random.key(0), env.default_params)
    obs, second, reward, *_ = step(env, first, 2)
    again = step(env, first, 2)
    np.testing.assert_array_equal(again[0], obs)
    assert again[1:3] == (second, reward), "the same question has the same answer, and is asked once"
    with pytest.raises(Exception, match="can be neither copied nor kept"):
        step(env, first, 1)
    step(env, second, 1)
    with pytest.raises(Exception, match="can be neither copied nor kept"):
        step(env, first, 2)
    with pytest.raises(Exception, match="none of this process"):
        step(GymnasiumHost("rlformers/Counter-v0"), second, 1)
    copies = jax.tree.map(lambda x: jnp.stack([x, x]), step(env, second, 1)[1])
    with pytest.raises(Exception, match="can be neither copied nor kept"):
        jax.vmap(env.step_env, (None, 0, 0, None))(
            jax.random.key(0), copies, jnp.array([0, 1], jnp.int32), env.default_params
        )
    env.close()
    with pytest.raises(Exception, match="none of this process"):
        step(env, second, 1)


def test_an_ended_episode_stays_ended():
    env = GymnasiumHost("rlformers/Counter-v0", truncates=1)
    _, state = env.reset(jax.random.key(0), env.default_params)
    obs, ended, *_ = step(env, state, 2)
    later, still, reward, _, _ = step(env, ended, 1)
    assert env.is_truncated(ended, env.default_params) and still == ended and reward == 0
    np.testing.assert_array_equal(later, obs)


def test_copies_are_limited():
    env = GymnasiumHost("rlformers/Counter-v0", max_copies=2)
    jax.vmap(env.reset, (0, None))(jax.random.split(jax.random.key(0), 2), env.default_params)
    with pytest.raises(Exception, match="env_kwargs.max_copies"):
        env.reset(jax.random.key(0), env.default_params)


THEIRS = gymnasium.spaces.Dict(
    a=gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(3, start=2), gymnasium.spaces.MultiBinary((2, 2))]),
    b=gymnasium.spaces.MultiDiscrete([[2, 3], [4, 5]]),
    c=gymnasium.spaces.Box(-1.5, 2, (2, 3), np.float64),
    d=gymnasium.spaces.Box(0, 255, (3,), np.uint8),
)


def test_spaces():
    ours = convert(THEIRS, "observation")
    kinds = [type(leaf) for leaf, _ in leaves(ours)]
    assert kinds == [Discrete, MultiDiscrete, MultiDiscrete, Box, Box]
    assert ours.spaces["c"].dtype == jnp.float32 and ours.spaces["d"].dtype == jnp.uint8
    THEIRS.seed(0)
    for _ in range(20):
        value = THEIRS.sample()
        parts = [part[0] for part in encode(THEIRS, [value])]
        structure = spaces_of(ours, parts)
        assert all(bool(leaf.contains(part)) for leaf, part in leaves(ours, structure))
        (back,) = decode(THEIRS, [part[None] for part in parts], 1)
        assert back in THEIRS and str(back) == str(value)
    with pytest.raises(ValueError, match="action space has a Text"):
        convert(gymnasium.spaces.Text(5), "action")
    assert convert(gymnasium.spaces.Text(5), "observation").kind == "Text"
    wide = convert(gymnasium.spaces.Box(-(2**62), 2**62, (1,), np.int64), "action")
    assert wide.dtype == jnp.int32 and wide.low[0] == -(2**31)


def spaces_of(space, parts):
    """Parts put into the structure of a space."""
    from rlformers.envs.spaces import map_leaves

    remaining = iter(parts)
    return map_leaves(lambda _leaf, _: jnp.asarray(next(remaining)), space, _same(space))


def _same(space):
    """Something to walk along with a space."""
    from rlformers.envs.wrappers.agent_inputs import null_action

    return null_action(space)


def test_masks():
    assert make_env("gymnasium/CartPole-v1", wrap={"mask": "velocities"})[0].observation_space(None).shape == (2,)
    with pytest.raises(ValueError, match=r"wrap\.mask: the velocities"):
        make_env("gymnasium/rlformers/Counter-v0", wrap={"mask": "velocities"})


@pytest.mark.parametrize(
    "name,kwargs",
    [
        ("Ant-v5", {}),
        ("HalfCheetah-v5", {}),
        ("Hopper-v5", {}),
        ("InvertedPendulum-v5", {}),
        ("Swimmer-v5", {"exclude_current_positions_from_observation": False}),
    ],
)
def test_velocities_of_mujoco_tasks(name, kwargs):
    pytest.importorskip("mujoco", reason="pip install 'gymnasium[mujoco]'")
    env = GymnasiumHost(name, **kwargs)
    theirs = gymnasium.make(name, **kwargs)
    obs, _ = theirs.reset(seed=0)
    np.testing.assert_allclose(obs[list(env.velocities)], theirs.unwrapped.data.qvel)


@pytest.mark.parametrize("name", ["Humanoid-v5", "HumanoidStandup-v5", "Reacher-v5", "InvertedDoublePendulum-v5"])
@pytest.mark.parametrize("mask", ["velocities", "positions"])
def test_velocities_are_not_known_where_others_are_observed_too(name, mask):
    """Humanoids observe those of bodies besides those of joints, and forces."""
    pytest.importorskip("mujoco", reason="pip install 'gymnasium[mujoco]'")
    with pytest.raises(ValueError, match=rf"wrap\.mask: the velocities of gymnasium/{name} are not known"):
        make_env(f"gymnasium/{name}", wrap={"mask": mask})


@pytest.mark.parametrize(
    "name,kwargs,message",
    [
        ("gymnasium/CartPol-v1", {}, "env: 'gymnasium/CartPol-v1' .*mean 'gymnasium/CartPole-v1'"),
        ("gymnasium/", {}, "env: 'gymnasium/' is none of the registered"),
        ("gymnasium/*", {}, r"env: 'gymnasium/\*' cannot be made: Malformed"),
        ("gymnasium/no_such_module:Env-v0", {}, "cannot be made: .*no_such_module"),
        ("gymnasium/gymnasium.envs.classic_control:CartPol-v1", {}, "mean 'gymnasium/CartPole-v1'"),
        ("gymnasium/ELA/Pong-v5", {}, "env: 'gymnasium/ELA/Pong-v5' .*'gymnasium/<module>:ELA/Pong-v5' imports"),
        ("gymnasium/FrozenLake-v1", {"map_name": "9x9"}, r"env_kwargs: .*FrozenLake-v1.*'9x9'\}: KeyError: '9x9'"),
        ("gymnasium/CartPole-v1", {"max_episode_steps": 3}, "env_params.max_steps_in_episode"),
        ("gymnasium/CartPole-v1", {"sutton_bartow": 3}, "env_kwargs: .*sutton_bartow"),
        ("gymnasium/CartPole-v1", {"max_copies": 0}, "env_kwargs.max_copies: need at least 1, got 0"),
    ],
)
def test_mistakes_are_named_in_one_line(name, kwargs, message):
    with pytest.raises(ValueError, match=message) as error:
        make_env(name, **kwargs)
    assert "\n" not in str(error.value)


def test_a_pattern_is_a_suite_of_its_own(monkeypatch):
    from rlformers.envs import registry

    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    register_env("counters/*", GymnasiumHost, kwargs={"truncates": 2})
    env, _ = make_env("counters/rlformers/Counter-v0", raw=True)
    assert env.env_id == "rlformers/Counter-v0"
    register_env("counters/Long", GymnasiumHost, kwargs={"env_id": "rlformers/Counter-v0", "truncates": 9})
    assert make_env("counters/Long", raw=True)[0].slots.make().unwrapped.truncates == 9


@pytest.mark.slow
def test_trains_resumes_and_evaluates(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["train", "env=gymnasium/CartPole-v1", *SMALL, "seeds=2", "run_dir=run"]
    assert main([*command, "total_steps=64"]) == 0
    assert main(["train", "resume=run", "total_steps=128"]) == 0
    assert "resume: gymnasium/CartPole-v1 runs on the host" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows[::2]] == [16 * u for u in range(1, 9)]
    assert max(row["ppo/first_ratio_error"] for row in rows) < 1e-4
    # Two seeds in one loop, which goes on computing the steps of the one that has finished.
    assert main(["evaluate", "run", "episodes=6", "num_envs=2"]) == 0
    result = json.loads(next((tmp_path / "run" / "evaluations").iterdir()).read_text())
    assert np.shape(result["episodes"]["return"]) == (2, 6)
