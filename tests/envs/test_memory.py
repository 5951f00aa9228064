"""The probes of memory: scripted policies that see observations alone, and what one can do without memory.

What the probes show does not depend on the answers, so that a first run yields the observations, NumPy the answers to
them, and a second run with the same keys the return.
"""

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.environment import never_truncates
from rlformers.envs.registry import make_env, names, replace_params

EPISODES = 200


class Runner:
    """Episodes of a probe, run by one compiled program for all params that do not change shapes."""

    def __init__(self, name, max_steps, **kwargs):
        self.env, self.params = make_env(f"memory/{name}", raw=True, **kwargs)
        self.max_steps = max_steps
        self.run = jax.jit(jax.vmap(self._episode, (0, 0, None)))

    def _episode(self, key, actions, params):
        key_reset, key_steps = jax.random.split(key)
        first, state = self.env.reset_env(key_reset, params)

        def step(state, inputs):
            obs, state, reward, terminated, _ = self.env.step_env(*inputs[:1], state, inputs[1], params)
            return state, (obs, reward, terminated)

        _, (obs, rewards, ended) = jax.lax.scan(step, state, (jax.random.split(key_steps, self.max_steps), actions))
        return jnp.concatenate([first[None], obs]), rewards, ended

    def __call__(self, answers=None, changes=None):
        """Observations [B, T, ...] before each action, rewards [B, T], T from the first end; answers default to 0."""
        params = replace_params(self.params, **(changes or {}))
        actions = np.zeros((EPISODES, self.max_steps), np.int32)
        if answers is not None:
            actions[:, : answers.shape[1]] = answers
        keys = jax.random.split(jax.random.key(0), EPISODES)
        obs, rewards, ended = map(np.asarray, self.run(keys, actions, params))
        assert ended.any(1).all(), "an episode has no end"
        length = np.argmax(ended, 1) + 1
        assert (length == length[0]).all()
        return obs[:, : length[0]], rewards[:, : length[0]]

    def check(self, script, chance, num_steps, changes=None):
        """The script earns 1 in every episode, the best table from observations to answers earns `chance`."""
        obs, _ = self(None, changes)
        assert obs.shape[1] == num_steps
        answers = script(obs)  # -1 where nothing is asked
        _, rewards = self(answers, changes)
        np.testing.assert_allclose(rewards.sum(1), 1, rtol=1e-5)
        np.testing.assert_array_equal(rewards > 0, answers >= 0)
        _, wrong = self((answers + 1) % self.env.num_actions, changes)
        assert not wrong.any()
        if chance is not None:
            np.testing.assert_allclose(_without_memory(obs, answers), chance, atol=0.05)
        return obs, answers


def _without_memory(obs, answers):
    """Return of the best function from an observation to an answer."""
    tokens = np.unique(obs.reshape(-1, *obs.shape[2:]), axis=0, return_inverse=True)[1].reshape(-1)
    answers, right = answers.reshape(-1), 0
    for token in np.unique(tokens):
        asked = answers[(tokens == token) & (answers >= 0)]
        right += np.bincount(asked).max() if asked.size else 0
    return right / (answers >= 0).sum()


def _after(answers, obs):
    """Answers to the last steps of an episode, -1 before."""
    full = np.full(obs.shape[:2], -1)
    full[:, obs.shape[1] - answers.shape[1] :] = answers
    return full


def test_copy():
    runner = Runner("Copy", 40)
    obs, _ = runner.check(lambda obs: _after(obs[:, :8], obs), 1 / 8, 16)
    assert (obs[:, 8:] == 9).all() and set(obs[:, :8].ravel()) == set(range(8))
    obs, _ = runner.check(lambda obs: _after(obs[:, :3], obs), 1 / 8, 11, {"items": 3, "delay": 5})
    assert (obs[:, 3:8] == 8).all() and (obs[:, 8:] == 9).all()


def _selected(num_symbols):
    return lambda obs: _after(np.stack([row[row < num_symbols] for row in obs]), obs)


def test_selective_copy():
    runner = Runner("SelectiveCopy", 72)
    obs, _ = runner.check(_selected(8), 1 / 8, 72)
    place_rates = (obs[:, :64] < 8).mean(0)
    assert abs(place_rates - 8 / 64).max() < 5 * np.sqrt(8 / 64 * 56 / 64 / EPISODES)
    obs, _ = runner.check(_selected(8), 1 / 8, 6, {"length": 3, "items": 3})
    assert (obs[:, :3] < 8).all() and (obs[:, 3:] == 9).all()
    with pytest.raises(ValueError, match=r"env_params\.length: need at least 65, got 64"):
        replace_params(runner.params, items=65)


@pytest.mark.parametrize("kwargs", [{}, {"num_pairs": 3, "num_keys": 3, "num_values": 2}])
def test_associative_recall(kwargs):
    pairs, keys, values = kwargs.values() if kwargs else (8, 16, 8)
    runner = Runner("AssociativeRecall", 3 * pairs, **kwargs)

    def recall(obs):
        tables = [dict(zip(row[0 : 2 * pairs : 2], row[1 : 2 * pairs : 2], strict=True)) for row in obs[..., 0]]
        rows = zip(tables, obs[:, 2 * pairs :, 0], strict=True)
        return _after(np.array([[table[key] - keys for key in row] for table, row in rows]), obs)

    obs, _ = runner.check(recall, 1 / values if kwargs else None, 3 * pairs)
    shown, asked = obs[:, 0 : 2 * pairs : 2, 0], obs[:, 2 * pairs :, 0]
    assert (np.diff(np.sort(shown)) > 0).all() and (np.sort(asked) == np.sort(shown)).all()
    assert (shown < keys).all() and (obs[:, 1 : 2 * pairs : 2, 0] >= keys).all()
    assert (obs[..., 1] == (np.arange(3 * pairs) >= 2 * pairs)).all()
    assert (asked != shown).any() and np.unique(shown[:, 0]).size == keys


def test_delay_line():
    runner = Runner("DelayLine", 72)
    for delay, answers, chance in ((8, 64, 1 / 4), (1, 5, None), (70, 2, None)):
        changes = {"delay": delay, "answers": answers}
        runner.check(lambda obs, n=answers: _after(obs[:, :n], obs), chance, delay + answers, changes)


def test_flip_flop():
    def register(obs):
        last = np.maximum.accumulate(np.where(obs < 2, np.arange(obs.shape[1]), -1), axis=1)
        return np.where(obs == 4, np.take_along_axis(obs, last, 1), -1)

    runner = Runner("FlipFlop", 100)
    obs, _ = runner.check(register, 1 / 2, 100)
    assert ((obs == 4).sum(1) == 10).all() and (obs[:, -1] == 4).all() and (obs[:, 0] < 2).all()
    middle = obs[:, 1:-1]
    assert abs((middle == 4).mean(0) - 9 / 98).max() < 5 * np.sqrt(9 / 98 / EPISODES)
    assert abs((middle < 2).sum() / (middle < 4).sum() - 0.1) < 0.01
    obs, _ = runner.check(register, 1 / 2, 5, {"length": 5, "reads": 4})
    assert (obs[:, 1:] == 4).all()
    obs, _ = runner.check(register, None, 50, {"length": 50, "reads": 5, "write_rate": 1.0})
    assert not ((obs == 2) | (obs == 3)).any()


def test_parity():
    runner = Runner("Parity", 64)
    for length in (32, 4, 64):
        runner.check(lambda obs: obs.cumsum(1) % 2, (length + 1) / (2 * length), length, {"length": length})


def test_localisation():
    runner = Runner("Localisation", 100)

    def sector(x, y):
        return np.floor(np.mod(np.arctan2(y, x), 2 * np.pi) * 8 / (2 * np.pi)).astype(int)

    def integrate(obs):
        distance, turn = obs[..., 0].astype(float), np.arctan2(obs[..., 2], obs[..., 1]).astype(float)
        heading = turn.cumsum(1)
        return sector((distance * np.cos(heading)).cumsum(1), (distance * np.sin(heading)).cumsum(1))

    for length in (32, 100):
        obs, answers = runner.check(integrate, None, length, {"length": length})
        assert abs(np.bincount(answers[:, -1], minlength=8) / EPISODES - 1 / 8).max() < 4.5 * np.sqrt(7 / 64 / EPISODES)
        _, rewards = runner(sector(obs[..., 1], obs[..., 2]), {"length": length})
        returns = rewards.sum(1)
        assert (rewards[:, 0] > 0).all()
        assert abs(returns.mean() - (1 + (length - 1) / 8) / length) < 4 * returns.std() / np.sqrt(EPISODES)


@pytest.mark.parametrize("num_bits", [1, 3])
def test_memory_chain_is_bsuites(num_bits):
    env, params = make_env("memory/MemoryChain", raw=True, num_bits=num_bits)
    reference, reference_params = gymnax.make("MemoryChain-bsuite", num_bits=num_bits)
    step, reference_step = jax.jit(env.step_env), jax.jit(reference.step_env)
    key = jax.random.key(0)
    for seed, length in enumerate((1, 2, 5, 5)):
        params = replace_params(params, memory_length=length)
        reference_params = reference_params.replace(memory_length=length)
        obs, state = env.reset_env(jax.random.key(seed), params)
        bits = np.asarray(obs[2:])
        _, other = reference.reset_env(key, reference_params)
        other = other.replace(context=state.context, query=state.query)
        np.testing.assert_allclose(obs, reference.get_obs(other, reference_params), rtol=1e-6)
        for _ in range(length + 1):
            query = int(obs[1])  # seen one step before it counts
            action = int(bits[query] > 0) if seed % 2 == 0 else int(bits[query] < 0)
            obs, state, reward, terminated, _ = step(key, state, action, params)
            wanted = reference_step(key, other, action, reference_params)
            np.testing.assert_allclose(obs, wanted[0], rtol=1e-6)
            other = wanted[1]
            assert (float(reward), bool(terminated)) == (float(wanted[2]), bool(wanted[3]))
        assert terminated and reward == (1 if seed % 2 == 0 else -1)


def test_memory_chain_pays_beyond_a_thousand_steps():
    runner = Runner("MemoryChain", 1201, num_bits=2)
    obs, rewards = runner(None, {"memory_length": 1200})
    assert obs.shape[1] == 1201 and not rewards[:, :-1].any()
    right = np.take_along_axis(obs[:, 0, 2:], obs[:, -1, 1:2].astype(int), 1) > 0
    _, rewards = runner(np.repeat(right, 1201, 1), {"memory_length": 1200})
    assert (rewards[:, -1] == 1).all()
    assert abs(right.mean() - 0.5) < 4 * 0.5 / np.sqrt(EPISODES)  # a constant answer earns 0


PROBES = [name for name in names() if name.startswith("memory/")]
TIMED = {"memory/RockSample-11-11", "memory/RockSample-15-15", "memory/CompassWorld"}  # whose limit truncates


@pytest.mark.parametrize("name", PROBES)
def test_contract(name):
    env, params = make_env(name, raw=True)
    assert never_truncates(env) == never_truncates(make_env(name)[0]) == (name not in TIMED)
    space, action = env.observation_space(params), env.action_space(params).sample(jax.random.key(0))
    obs, state = env.reset_env(jax.random.key(0), params)
    assert obs.shape == tuple(space.shape) and obs.dtype == space.dtype and space.contains(obs)
    shapes = jax.eval_shape(env.step, jax.random.key(0), state, action, params)  # select needs equal dtypes
    assert jax.tree.map(lambda x: (x.shape, x.dtype), (obs, state)) == jax.tree.map(
        lambda x: (x.shape, x.dtype), tuple(shapes[:2])
    )
    assert [x.dtype for x in shapes[2:5]] == [jnp.float32, jnp.bool_, jnp.bool_]
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state))
    assert not env.is_truncated(state, params)


@pytest.mark.parametrize(
    "name,kwargs,message",
    [
        ("Copy", {"num_symbols": 1}, r"env_kwargs\.num_symbols: need at least 2, got 1"),
        ("SelectiveCopy", {"num_symbols": 0}, r"env_kwargs\.num_symbols: need at least 2"),
        ("DelayLine", {"num_symbols": 1}, r"env_kwargs\.num_symbols: need at least 2"),
        ("MemoryChain", {"num_bits": 0}, r"env_kwargs\.num_bits: need at least 1, got 0"),
        ("Localisation", {"num_sectors": 1}, r"env_kwargs\.num_sectors: need at least 2"),
        (
            "AssociativeRecall",
            {"num_pairs": 17},
            r"env_kwargs\.num_pairs: need 1 <= num_pairs <= num_keys = 16, got 17",
        ),
        ("AssociativeRecall", {"num_values": 1}, r"env_kwargs\.num_values: need at least 2"),
    ],
)
def test_arguments(name, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_env(f"memory/{name}", **kwargs)


@pytest.mark.parametrize(
    "name,field,value",
    [
        ("Copy", "items", 0),
        ("Copy", "delay", -1),
        ("SelectiveCopy", "items", 0),
        ("DelayLine", "delay", 0),
        ("DelayLine", "answers", 0),
        ("FlipFlop", "reads", 0),
        ("FlipFlop", "length", 10),
        ("FlipFlop", "write_rate", 1.5),
        ("Parity", "length", 0),
        ("Localisation", "length", 0),
        ("MemoryChain", "memory_length", 0),
    ],
)
def test_params(name, field, value):
    with pytest.raises(ValueError, match=rf"env_params\.{field}: need .*, got {value}"):
        replace_params(make_env(f"memory/{name}")[1], **{field: value})
