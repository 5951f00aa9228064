"""Environments of Gymnasium on the host: episodes, and what the states of the program refuse to do."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.command.main import main
from rlformers.envs import check
from rlformers.envs.environment import UNLIMITED, TimedParams
from rlformers.envs.registry import make_env
from rlformers.envs.wrappers import EpisodeStatistics, TimeLimit
from rlformers.envs.wrappers.timing import ActionRepeat
from rlformers.envs.wrappers.trial import Trial

gymnasium = pytest.importorskip("gymnasium", reason="pip install 'rlformers[gymnasium]'")

from gymnasium_environments import Counter, counters_and_parts, rollout  # noqa: E402

from rlformers.envs.adapters.host.environment import GymnasiumHost  # noqa: E402

SMALL = ["ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", "model.width=8", "core=mlp"]
SMALL += ["wandb.mode=disabled"]


@pytest.fixture(autouse=True, scope="module")
def registered():
    with counters_and_parts():
        yield


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


def calls_of(env, monkeypatch):
    """How many questions are in each call to the host from now on."""
    calls, answer = [], type(env.slots).__call__

    def counting(slots, questions):
        calls.append(math.prod(questions.shape[:-1]))
        return answer(slots, questions)

    monkeypatch.setattr(type(env.slots), "__call__", counting)
    return calls


def test_a_step_is_one_call_that_begins_the_next_episode(monkeypatch):
    env = GymnasiumHost("rlformers/Counter-v0")
    calls = calls_of(env, monkeypatch)
    _, (_, obs, final, _, terminated, truncated) = rollout(
        EpisodeStatistics(env), TimedParams(5), jax.random.key(2), 4, 40
    )
    assert terminated.any() and truncated.any() and (obs[..., 1] == 0).sum() == (terminated | truncated).sum()
    assert calls == [4] * (1 + 40)
    # An end that the host does not know of takes one more: the time limit of a wrapper, here after 2 steps.
    calls.clear()
    limited = TimeLimit(env, 2)
    _, (*_, truncated) = rollout(limited, TimedParams(UNLIMITED), jax.random.key(2), 4, 40)
    assert truncated.sum() == 4 * 20 and calls == [4] * (1 + 40 + 20)


def test_an_automatic_reset_has_the_seed_of_its_key():
    env = GymnasiumHost("rlformers/Counter-v0", truncates=1)
    _, state = env.reset(jax.random.key(0), env.default_params)
    key = jax.random.key(7)
    obs, state, *_, info = env.step(key, state, jnp.int32(0), env.default_params)
    seed = int(jax.random.bits(jax.random.split(key)[1], (), jnp.uint32)) % 1000
    assert obs[:2].tolist() == [seed, 0] and info["final_observation"][1] == 1
    assert set(info) == {"terminated", "truncated", "final_observation"}
    assert state.time == 0 and not state.truncated
    *_, info = env.step(key, state, jnp.int32(0), env.default_params)
    assert info["final_observation"][:2].tolist() == [seed, 1]


def test_an_array_that_is_shown_again_and_again():
    env = GymnasiumHost("rlformers/OneArray-v0", truncates=2)
    _, (_, obs, final, *_) = rollout(env, env.default_params, jax.random.key(2), 2, 6)
    assert obs[0, :, 0, 1].tolist() == [1, 0, 1, 0, 1, 0] and final[0, :, 0, 1].tolist() == [1, 2, 1, 2, 1, 2]


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


@pytest.mark.parametrize("repeats", [1, 3])
def test_loops_that_have_ended_may_go_on_beside_others(repeats):
    """A batch of loops computes its ended ones again: their last pass asks the host what it has been asked."""
    host = GymnasiumHost("rlformers/Counter-v0")
    env = ActionRepeat(host, repeats) if repeats > 1 else host
    params = TimedParams(100)

    def play(key, passes):
        def go_on(carry):
            made, (_, state), paid = carry
            obs, state, reward, *_ = env.step(key, state, jnp.int32(0), params)
            return made + 1, (obs, state), paid + reward

        start = jnp.int32(0), env.reset(key, params), jnp.float32(0)
        _, (obs, _), paid = jax.lax.while_loop(lambda carry: carry[0] < passes, go_on, start)
        return obs, paid

    keys = jax.random.split(jax.random.key(0), 3)
    obs, paid = jax.jit(jax.vmap(play))(keys, jnp.array([1, 4, 2]))
    for key, passes, seen, sum_of_rewards in zip(keys, (1, 4, 2), obs, paid, strict=True):
        alone = jax.jit(play)(key, passes)
        np.testing.assert_array_equal(alone[0], seen)
        assert alone[1] == sum_of_rewards


def test_an_ended_episode_stays_ended():
    env = GymnasiumHost("rlformers/Counter-v0", truncates=1)
    _, state = env.reset(jax.random.key(0), env.default_params)
    obs, ended, *_ = step(env, state, 2)
    later, still, reward, _, _ = step(env, ended, 1)
    assert env.is_truncated(ended, env.default_params) and still == ended and reward == 0
    np.testing.assert_array_equal(later, obs)


def test_a_failure_leaves_no_answers_behind():
    """Copies that made their step before another one failed have no answer that anyone got."""
    env = GymnasiumHost("rlformers/Fails-v0")
    keys = jax.random.split(jax.random.key(0), 2)
    _, states = jax.vmap(env.reset, (0, None))(keys, env.default_params)
    actions = jnp.array([0, 1], jnp.int32)
    for message in ("the second failed", "was used again"):
        with pytest.raises(Exception, match=message):
            jax.vmap(env.step_env, (0, 0, 0, None))(keys, states, actions, env.default_params)


def test_copies_are_limited():
    env = GymnasiumHost("rlformers/Counter-v0", max_copies=2)
    jax.vmap(env.reset, (0, None))(jax.random.split(jax.random.key(0), 2), env.default_params)
    with pytest.raises(Exception, match="env_kwargs.max_copies"):
        env.reset(jax.random.key(0), env.default_params)


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
