"""Running statistics of observations and rewards. They change only between iterations."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rlformers.agents.masks import without_mask

# A deviation below this fraction of the mean is rounding: float32 sums of a constant have it too.
RESOLUTION = 1e-5


class Moments(NamedTuple):
    """Count, mean and sum of squared deviations (Chan et al. 1979).

    The count is a float32 and stops growing at 2^24 batches. Then the mean becomes a moving
    average.
    """

    num: Float[Array, ""]
    mean: Float[Array, "*F"]
    m2: Float[Array, "*F"]

    @staticmethod
    def zeros(shape: tuple[int, ...] = ()) -> "Moments":
        """The moments before the first sample."""
        return Moments(jnp.zeros(()), jnp.zeros(shape), jnp.zeros(shape))

    def add(self, samples: Float[Array, " N *F"]) -> "Moments":
        """The moments after a batch."""
        samples = samples.astype(self.mean.dtype)  # half precision ends here
        n = jnp.asarray(samples.shape[0], self.num.dtype)
        # Relative to the first sample, so that the mean of a constant is exact, which a plain sum
        # of many 1e6 is not.
        mean = samples[0] + (samples - samples[0]).mean(0)
        m2 = jnp.square(samples - mean).sum(0)
        count = self.num + n
        share = n / count
        delta = mean - self.mean
        return Moments(count, self.mean + delta * share, self.m2 + m2 + jnp.square(delta) * self.num * share)

    def std(self) -> Float[Array, "*F"]:
        """Standard deviation; 1 before the first sample, and where float32 cannot tell it from 0."""
        variance = self.m2 / jnp.maximum(self.num, 1.0)
        varies = jnp.sqrt(variance) > RESOLUTION * jnp.abs(self.mean)
        return jnp.where(varies, jnp.sqrt(variance + 1e-8), 1.0)


class Normalizers(NamedTuple):
    """Statistics of every real vector in the observation, and of the discounted return.

    Integers are symbols, so their mean says nothing.
    """

    observation: Any  # a pytree like the observation; None where a leaf is not normalised
    reward: Moments
    discounted_return: Float[Array, " B"]  # of the running episodes


def init_normalizers(obs: Any, num_envs: int) -> Normalizers:
    """Statistics for observations like `obs`, from one environment."""
    seen, mask = without_mask(obs)
    observation = jax.tree.map(lambda x: Moments.zeros(x.shape) if _is_vector(x) else None, seen)
    if mask is not None:
        observation["action_mask"] = None  # of any type: a whitened mask would allow what it forbids
    return Normalizers(observation, Moments.zeros(), jnp.zeros(num_envs))


def normalize_observation(moments: Any, obs: Any, limit: float = 10.0) -> Any:
    """Whiten the real vectors of `obs` (any leading axes) and clip them to ±limit; other leaves stay."""

    def normalize(leaf: Array, stats: Moments | None) -> Array:
        if stats is None:
            return leaf
        return jnp.clip((leaf - stats.mean) / stats.std(), -limit, limit)

    return jax.tree.map(normalize, obs, moments)


def update_observation(moments: Any, obs: Any) -> Any:
    """Add observations with leading axes [T, B] to the statistics."""

    def update(leaf: Array, stats: Moments | None) -> Moments | None:
        return None if stats is None else stats.add(leaf.reshape(-1, leaf.shape[-1]))

    return jax.tree.map(update, obs, moments)


def update_reward(
    normalizers: Normalizers,
    rewards: Float[Array, "T B"],
    done: Bool[Array, "T B"],
    gamma: Float[Array, ""] | float,
) -> Normalizers:
    """Add the segment's discounted returns G_t = r_t + γ G_{t-1}; G restarts AFTER an episode's last step."""

    def accumulate(carry: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, ended = step
        discounted = reward + gamma * carry
        return jnp.where(ended, 0.0, discounted), discounted

    carry, returns = jax.lax.scan(accumulate, normalizers.discounted_return, (rewards, done))
    return normalizers._replace(reward=normalizers.reward.add(returns.reshape(-1)), discounted_return=carry)


def _is_vector(leaf: Array) -> bool:
    return jnp.ndim(leaf) == 1 and jnp.issubdtype(leaf.dtype, jnp.floating)
