"""Running statistics of observations and rewards. They change only between iterations."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from rlformers.agents.masks import without_mask
from rlformers.agents.symbols import joined

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
    """Statistics of every vector in the observation, and of the discounted return."""

    observation: Any  # a pytree like the `joined` observation; None where a leaf is not normalised
    reward: Moments
    discounted_return: Float[Array, " B"]  # of the running episodes


def init_normalizers(obs: Any, num_envs: int) -> Normalizers:
    """Statistics for observations like `obs`, from one environment, as `Agent.as_numbers` gives them."""
    seen, mask = without_mask(obs)
    observation = jax.tree.map(lambda x: Moments.zeros(x.shape) if _is_vector(x) else None, joined(seen))
    if mask is not None:
        observation["action_mask"] = None  # of any type: a whitened mask would allow what it forbids
    return Normalizers(observation, Moments.zeros(), jnp.zeros(num_envs))


def normalize_observation(moments: Any, obs: Any, limit: float = 10.0) -> Any:
    """Whiten the vectors of `obs` (any leading axes) and clip them to ±limit; other leaves stay.

    A tuple of vectors may stand where `moments` has one vector: its pieces.
    """

    def normalize(stats: Moments | None, part: Any) -> Any:
        if stats is None:
            return part
        pieces, structure = jax.tree.flatten(part)
        ends = np.cumsum([piece.shape[-1] for piece in pieces])[:-1]
        each = zip(pieces, jnp.split(stats.mean, ends), jnp.split(stats.std(), ends), strict=True)
        return jax.tree.unflatten(structure, [jnp.clip((x - mean) / std, -limit, limit) for x, mean, std in each])

    return jax.tree.map(normalize, moments, obs, is_leaf=_is_entry)


def update_observation(moments: Any, obs: Any) -> Any:
    """Add observations with leading axes [T, B] to the statistics."""

    def update(stats: Moments | None, part: Any) -> Moments | None:
        if stats is None:
            return None
        pieces = [x.reshape(-1, x.shape[-1]) for x in jax.tree.leaves(part)]
        return stats.add(jnp.concatenate(pieces, axis=-1))

    return jax.tree.map(update, moments, obs, is_leaf=_is_entry)


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


def _is_entry(part: Any) -> bool:
    return part is None or isinstance(part, Moments)


def _is_vector(leaf: Array) -> bool:
    return jnp.ndim(leaf) == 1 and jnp.issubdtype(leaf.dtype, jnp.floating)
