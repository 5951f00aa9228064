"""Every action that an environment of Gymnasium gets is in its space, whatever box that is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.policies import make_policy
from rlformers.envs import spaces
from rlformers.envs.registry import make_env
from rlformers.errors import UserError

gymnasium = pytest.importorskip("gymnasium", reason="pip install 'rlformers[gymnasium]'")

MAX32, MAX64 = float(np.finfo(np.float32).max), float(np.finfo(np.float64).max)
INF = np.inf


class Records(gymnasium.Env):
    """Keeps every action; complains of one that is not in its space."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    actions: list = []

    def __init__(self, space):
        self.action_space = space

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert action in self.action_space, f"{action!r} of {action.dtype} is not in {self.action_space}"
        self.actions.append(action)
        return np.zeros(1, np.float32), 0.0, False, False, {}


@pytest.fixture(autouse=True, scope="module")
def registered():
    gymnasium.register("rlformers/Records-v0", Records)
    yield
    del gymnasium.registry["rlformers/Records-v0"]


def bounds_of(rng, dtype, shape):
    """Random bounds of a box: two, one or none for each entry, near or far, at limits of the type or not."""
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        low = rng.integers(max(info.min, -50), 20, shape) if rng.random() < 0.7 else np.full(shape, info.min)
        near = low + rng.integers(0, 9, shape) if info.bits < 64 else rng.integers(20, 30, shape)
        high = near if rng.random() < 0.7 else np.full(shape, info.max)
        return np.asarray(low).astype(dtype), np.asarray(high).astype(dtype)
    low = rng.normal(0, 10 ** rng.uniform(-2, 3), shape).astype(dtype)
    high = (low + rng.exponential(10 ** rng.uniform(-2, 3), shape)).astype(dtype)
    far = {"float64": MAX64, "float32": MAX32, "float16": 60000}[np.dtype(dtype).name]
    low = np.where(rng.random(shape) < 0.2, rng.choice([-INF, -far]), low)
    return low.astype(dtype), np.where(rng.random(shape) < 0.2, rng.choice([INF, far]), high).astype(dtype)


CASES = [
    (dtype, shape, seed)
    for dtype in ("float32", "float64", "float16", "int8", "uint8", "int16", "int32", "int64", "uint32", "uint64")
    for seed, shape in enumerate([(), (2, 3)])
]


@pytest.mark.parametrize("dtype, shape, seed", CASES, ids=str)
def test_actions_are_in_their_space(dtype, shape, seed):
    rng = np.random.default_rng(seed + 100 * len(dtype))
    low, high = bounds_of(rng, dtype, shape)
    theirs = gymnasium.spaces.Box(low, high, shape, np.dtype(dtype))
    env, params = make_env("gymnasium/rlformers/Records-v0", raw=True, space=theirs)
    ours = env.action_space(params)
    policy = make_policy(ours)
    raw = np.concatenate([rng.normal(0, scale, (4, policy.num_outputs)) for scale in (0.3, 1, 30, 1e9)])
    actions = [*policy.to_env(jnp.asarray(raw, jnp.float32))]
    actions += [spaces.sample(ours, key) for key in jax.random.split(jax.random.key(seed), 4)]
    Records.actions.clear()
    _, state = env.reset(jax.random.key(0), params)
    for action in actions:
        assert spaces.as_dtype(action, ours.dtype).shape == shape
        _, state, *_ = env.step_env(jax.random.key(0), state, action, params)
    assert len(Records.actions) == len(actions) == 20
    env.close()


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
@pytest.mark.parametrize("low, high", [(0, 3), (5, 9), (0, 1)])
@pytest.mark.parametrize("std", [1.0, float(np.exp(-0.5))])
def test_a_policy_around_the_middle_is_symmetric(dtype, low, high, std):
    theirs = gymnasium.spaces.Box(low, high, (1,), np.dtype(dtype))
    env, params = make_env("gymnasium/rlformers/Records-v0", raw=True, space=theirs)
    policy = make_policy(env.action_space(params))
    raw = policy.sample(jax.random.key(0), jnp.broadcast_to(jnp.array([0.0, np.log(std)]), (20_000, 2)))
    actions = np.asarray(policy.to_env(raw))[:, 0]
    shares = np.array([(actions == value).mean() for value in range(low, high + 1)])
    assert shares.sum() == 1 and (shares > 0.05).all()
    np.testing.assert_allclose(shares, shares[::-1], atol=0.015)


def test_whole_numbers_are_rounded_to_not_cut():
    theirs = gymnasium.spaces.Box(0, 3, (2,), np.int64)
    env, params = make_env("gymnasium/rlformers/Records-v0", raw=True, space=theirs)
    Records.actions.clear()
    _, state = env.reset(jax.random.key(0), params)
    env.step_env(jax.random.key(0), state, jnp.array([1.6, -0.4]), params)
    assert Records.actions[0].tolist() == [2, 0] and Records.actions[0].dtype == np.int64


def test_a_box_out_of_reach_is_refused():
    theirs = gymnasium.spaces.Box(2**40, 2**41, (1,), np.int64)
    with pytest.raises(UserError, match="^env: no action of type int32 lies between the bounds"):
        make_env("gymnasium/rlformers/Records-v0", space=theirs)
