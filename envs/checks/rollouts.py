"""Rollouts of random actions that keep everything the checker looks at, and single steps to compare them with."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PRNGKeyArray

from rlformers.envs import spaces
from rlformers.envs.environment import Environment
from rlformers.envs.wrappers import EpisodeStatistics
from rlformers.quick_compile import IN_A_HURRY


class Step(NamedTuple):
    """Steps of B environments, leaves [T, B, ...]; `key` and `before` of environment 0 only, [T, ...]."""

    obs: Any  # after the step, and after a reset if it ended an episode
    final: Any  # after the step
    reward: Any
    terminated: Any
    truncated: Any
    episode_return: Any
    episode_length: Any
    action: Any
    key: Any
    before: Any  # state of environment 0 before the step

    @property
    def done(self) -> np.ndarray:
        """Whether an episode ended, [T, B]."""
        return self.terminated | self.truncated


class Rollouts:
    """Vmapped scans of an environment with random actions, legal ones if the observation says which are.

    Two programs are compiled, of reset and of a scan, and used for all params and keys.

    Args:
        env: Any environment. It is reset by `Environment.step` around `step_env`, whatever its own
            `step` does.
        num_envs: B.
        num_steps: T, of a scan.
    """

    def __init__(self, env: Environment, num_envs: int, num_steps: int):
        self.env = EpisodeStatistics(env)
        self.num_envs = num_envs
        self.num_steps = num_steps
        self._reset = jax.jit(jax.vmap(self.env.reset_env, (0, None)), compiler_options=IN_A_HURRY)
        self._scan = jax.jit(self._trace, compiler_options=IN_A_HURRY)

    def keys(self, key: PRNGKeyArray) -> Key[Array, " B"]:
        """Of the first resets."""
        return jax.random.split(key, self.num_envs)

    def start(self, key: PRNGKeyArray, params: Any) -> Any:
        """First observations and states of B episodes."""
        return self._reset(self.keys(key), params)

    def go_on(self, carry: Any, key: PRNGKeyArray, params: Any) -> tuple[Any, Step]:
        """T steps more; observations and states to go on from, and what happened, in NumPy."""
        carry, steps = self._scan(carry, jax.random.split(key, self.num_steps), params)
        return carry, jax.tree.map(to_numpy, steps)

    def _trace(self, carry: Any, keys: Key[Array, " T"], params: Any) -> tuple[Any, Step]:
        def one(carry: Any, key: PRNGKeyArray) -> tuple[Any, Step]:
            obs, state = carry
            key_action, key_step = jax.random.split(key)
            keys_step = jax.random.split(key_step, self.num_envs)
            choose = jax.vmap(lambda key, obs: random_action(key, self.env.action_space(params), obs))
            action = choose(jax.random.split(key_action, self.num_envs), obs)
            before = jax.tree.map(lambda x: x[0], state.env_state)
            obs, state, reward, terminated, truncated, info = jax.vmap(self.env.step, (0, 0, 0, None))(
                keys_step, state, action, params
            )
            totals = info["episode_return"], info["episode_length"]
            ends = reward, terminated, truncated
            return (obs, state), Step(obs, info["final_observation"], *ends, *totals, action, keys_step[0], before)

        return jax.lax.scan(one, carry, keys)


def random_action(key: PRNGKeyArray, space: spaces.Space, obs: Any) -> Any:
    """A uniformly random action; a legal one if the observation has an "action_mask" (one per logit)."""
    mask = obs.get("action_mask") if isinstance(obs, Mapping) else None
    if mask is None:
        return spaces.sample(space, key)
    logits = jnp.where(mask, 0.0, -jnp.inf)
    if isinstance(space, spaces.Discrete):
        return jax.random.categorical(key, logits).astype(space.dtype)
    parts = jnp.split(logits, np.cumsum(space.nvec)[:-1])
    keys = jax.random.split(key, len(parts))
    return jnp.stack([jax.random.categorical(*pair) for pair in zip(keys, parts, strict=True)]).astype(space.dtype)


def to_numpy(x: Array) -> Any:
    """NumPy where there is such an array; keys stay as they are."""
    return x if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else np.asarray(x)


def nudged(tree: Any) -> Any:
    """Floating-point numbers changed in the last digit, up or down; whole numbers are left alone."""
    rng = np.random.default_rng(0)

    def nudge(x: Any) -> Any:
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return x
        towards = np.where(rng.random(x.shape) < 0.5, -np.inf, np.inf).astype(x.dtype)
        return np.where(x == np.round(x), x, np.nextafter(x, towards))

    return jax.tree.map(nudge, tree)


def moved(left: Any, near: Any) -> Any:
    """The largest difference in each leaf between two results, one of them computed from `nudged` numbers."""

    def most(x: Any, z: Any) -> float:
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return 0.0
        x, z = np.asarray(x), np.asarray(z)
        both = np.isfinite(x) & np.isfinite(z)
        return float(np.abs(x[both] - z[both]).max(initial=0))

    return jax.tree.map(most, left, near)


def first_difference(left: Any, right: Any, slack: Any = None, exact: bool = False) -> str:
    """Path and values of the first leaf in which two pytrees differ, by more than rounding unless `exact`, or "".

    Args:
        left: A tree.
        right: The tree to compare it with.
        slack: How much rounding changes each leaf, see `moved`; ten times as much is allowed.
        exact: Whether every bit counts.
    """
    structure: Any = jax.tree.structure(left)
    wanted: Any = jax.tree.structure(right)
    if structure != wanted:
        return f" is {structure}, not {wanted}"
    slacks = [0.0] * structure.num_leaves if slack is None else jax.tree.leaves(slack)
    pairs = zip(jax.tree_util.tree_leaves_with_path(left), jax.tree.leaves(right), slacks, strict=True)
    for (path, x), y, rounding in pairs:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        x, y = np.asarray(x), np.asarray(y)
        if x.shape != y.shape or x.dtype != y.dtype:
            return f"{jax.tree_util.keystr(path)} is {x.dtype}{list(x.shape)}, not {y.dtype}{list(y.shape)}"
        same = _close(x, y, rounding, exact) if x.dtype.kind == "f" else x == y
        if not same.all():
            where = tuple(int(i) for i in np.argwhere(~same)[0])
            place = jax.tree_util.keystr(path) + (str(list(where)) if where else "")
            return f"{place} is {x[where]}, not {y[where]}"
    return ""


def _close(x: np.ndarray, y: np.ndarray, rounding: float, exact: bool) -> np.ndarray:
    """Entry by entry. Every operation of a step rounds as its input was: it may move numbers as far, a few times."""
    largest = np.abs(y[np.isfinite(y)]).max(initial=0)
    rtol, atol = (0, 0) if exact else (1e-3, max(1e-4, 10 * rounding, 1e-5 * largest))
    return np.asarray(np.isclose(x, y, rtol, atol, equal_nan=True))  # of scalars it makes no array
