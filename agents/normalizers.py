"""Running statistics of observations and rewards. They change between iterations only, never inside one."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Moments(NamedTuple):
    """Count, mean and sum of squared deviations (Chan et al. 1979)."""

    num: Float[Array, ""]
    mean: Float[Array, "*F"]
    m2: Float[Array, "*F"]

    @staticmethod
    def zeros(shape: tuple[int, ...] = ()) -> "Moments":
        """Before the first sample. With count 0 the variance counts as 1."""
        return Moments(jnp.zeros(()), jnp.zeros(shape), jnp.zeros(shape))

    def add(self, samples: Float[Array, " N *F"]) -> "Moments":
        """Join the statistics of a batch."""
        n = jnp.asarray(samples.shape[0], self.num.dtype)
        mean = samples.mean(0)
        m2 = jnp.square(samples - mean).sum(0)
        count = self.num + n
        delta = mean - self.mean
        return Moments(count, self.mean + delta * n / count, self.m2 + m2 + jnp.square(delta) * self.num * n / count)

    def std(self) -> Float[Array, "*F"]:
        """Standard deviation, 1 before the first sample."""
        variance = self.m2 / jnp.maximum(self.num, 1.0)
        return jnp.where(self.num > 0, jnp.sqrt(variance + 1e-8), 1.0)


class Normalizers(NamedTuple):
    """Statistics of every part of the observation that is a vector, and of the discounted return."""

    observation: Any  # a pytree like the observation; None where a leaf is not normalised
    reward: Moments
    discounted_return: Float[Array, " B"]  # of the running episodes


def init_normalizers(obs: Any, num_envs: int) -> Normalizers:
    """Statistics for observations shaped like `obs` (one environment's)."""
    observation = jax.tree.map(lambda x: Moments.zeros(x.shape) if _is_vector(x) else None, obs)
    return Normalizers(observation, Moments.zeros(), jnp.zeros(num_envs))


def normalize_observation(moments: Any, obs: Any, limit: float = 10.0) -> Any:
    """Whiten vector leaves of `obs` (any leading axes), clipped to ±limit; other leaves pass through."""

    def normalize(leaf: Array, stats: Moments | None) -> Array:
        if stats is None:
            return leaf
        return jnp.clip((leaf - stats.mean) / stats.std(), -limit, limit)

    return jax.tree.map(normalize, obs, moments)


def update_observation(moments: Any, obs: Any) -> Any:
    """Join observations with leading axes [T, B] to the statistics."""

    def update(leaf: Array, stats: Moments | None) -> Moments | None:
        return None if stats is None else stats.add(leaf.reshape(-1, leaf.shape[-1]))

    return jax.tree.map(update, obs, moments)


def update_reward(
    normalizers: Normalizers,
    rewards: Float[Array, "T B"],
    done: Bool[Array, "T B"],
    gamma: Float[Array, ""] | float,
) -> Normalizers:
    """Join the discounted returns G_t = r_t + γ G_{t-1} of the segment; G restarts AFTER an episode's last step."""

    def accumulate(carry: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, ended = step
        discounted = reward + gamma * carry
        return jnp.where(ended, 0.0, discounted), discounted

    carry, returns = jax.lax.scan(accumulate, normalizers.discounted_return, (rewards, done))
    return normalizers._replace(reward=normalizers.reward.add(returns.reshape(-1)), discounted_return=carry)


def _is_vector(leaf: Array) -> bool:
    return jnp.ndim(leaf) == 1 and jnp.issubdtype(leaf.dtype, jnp.floating)
