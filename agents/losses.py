"""The terms of PPO's loss (Schulman et al. 2017) per token, and averages over tokens.

Every function works on arrays of any shape [...], such as [T, N] of N sequences. `log_ratio` is
log π(a|o) - log π_old(a|o), so ratio = exp(log_ratio).
"""

import chex
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float


def clipped_surrogate(
    log_ratio: Float[Array, "*T"],
    advantage: Float[Array, "*T"],
    clip_eps: ArrayLike,
    clip_eps_high: ArrayLike,
) -> Float[Array, "*T"]:
    """min(ratio A, clip(ratio, 1 - ε, 1 + ε_high) A), to be maximised (equation 7; ε_high: Yu et al. 2025, 3.1).

    This is min(ratio, 1 + ε_high) A where A >= 0, and max(ratio, 1 - ε) A elsewhere. The code bounds the log-ratio:
    exp would overflow above 88, and its gradient would be NaN where the clipped objective is finite and flat.
    """
    chex.assert_equal_shape([log_ratio, advantage])
    low, high = jnp.log(jnp.maximum(1 - jnp.asarray(clip_eps), 0)), jnp.log1p(jnp.asarray(clip_eps_high))
    bounded = jnp.where(advantage >= 0, jnp.minimum(log_ratio, high), jnp.maximum(log_ratio, low))
    return jnp.exp(bounded) * advantage


def clip_fraction(log_ratio: Float[Array, "*T"], clip_eps: ArrayLike, clip_eps_high: ArrayLike) -> Float[Array, "*T"]:
    """1 where the ratio is outside [1 - ε, 1 + ε_high], else 0."""
    change = jnp.expm1(log_ratio)
    return ((change < -jnp.asarray(clip_eps)) | (change > jnp.asarray(clip_eps_high))).astype(log_ratio.dtype)


def approx_kl(log_ratio: Float[Array, "*T"]) -> Float[Array, "*T"]:
    """KL(π_old, π) from actions of π_old: (ratio - 1) - log ratio >= 0 (Schulman 2020, estimator k3)."""
    return jnp.expm1(log_ratio) - log_ratio


def squared_error(value: Float[Array, "*T"], target: Float[Array, "*T"]) -> Float[Array, "*T"]:
    """½ (V - target)²."""
    chex.assert_equal_shape([value, target])
    return 0.5 * jnp.square(value - target)


def clipped_squared_error(
    value: Float[Array, "*T"], old_value: Float[Array, "*T"], target: Float[Array, "*T"], clip_eps: ArrayLike
) -> Float[Array, "*T"]:
    """½ max((V - target)², (V_old + clip(V - V_old, -ε, ε) - target)²), as in the code of Schulman et al. 2017.

    Because of the maximum, a value that moved towards the target by more than ε gets no gradient.
    """
    chex.assert_equal_shape([value, old_value, target])
    eps = jnp.asarray(clip_eps)
    near = old_value + jnp.clip(value - old_value, -eps, eps)
    return jnp.maximum(squared_error(value, target), squared_error(near, target))


def explained_variance(value: Float[Array, "*T"], target: Float[Array, "*T"]) -> Float[Array, ""]:
    """1 - Var(target - V) / Var(target): 1 is perfect, 0 is no better than a constant, and it can be negative."""
    chex.assert_equal_shape([value, target])
    return 1 - jnp.var(target - value) / jnp.maximum(jnp.var(target), 1e-8)


def mean(x: Float[Array, "*T"], trained: Bool[Array, "*T"] | None = None) -> Float[Array, ""]:
    """Mean over the trained tokens; None means all."""
    return x.mean() if trained is None else jnp.where(trained, x, 0).sum() / trained.sum()


def whiten(x: Float[Array, "*T"], trained: Bool[Array, "*T"] | None = None) -> Float[Array, "*T"]:
    """x with mean 0 and standard deviation 1 over the trained tokens."""
    centred = x - mean(x, trained)
    return centred / (jnp.sqrt(mean(jnp.square(centred), trained)) + 1e-8)
