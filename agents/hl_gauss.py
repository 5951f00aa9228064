"""Values as distributions: a critic that classifies.

HL-Gauss (Farebrother et al. 2024, "Stop Regressing", section 3.1) has a logit for each of K bins.
The bins are evenly spaced in symlog(v) = sign(v) log(1 + |v|) (as in DreamerV3, Hafner et al. 2023)
between the outer edges symlog(±limit). A Gaussian around symlog(y) with standard deviation σ = 0.75
bin widths spreads a target y over the bins ("histogram loss", Imani & White 2018), cut off at the
outer edges e_0 and e_K:

    p_i = (Φ((e_{i+1} - symlog y) / σ) - Φ((e_i - symlog y) / σ)) / (Φ((e_K - symlog y) / σ) - Φ((e_0 - symlog y) / σ))

The loss is the cross-entropy, and the value is symexp(Σ_i p_i c_i) with the bins' centres c_i. The
value of a target's own distribution equals the target to within 0.004 bin widths, except within 3σ
of the outer edges, which cut the Gaussian. There it is nearer to 0, at the very edge by 0.7 bin
widths (910 for 1000, with 101 bins up to 1000).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SIGMA = 0.75  # in bin widths


def symlog(v: Float[Array, "*T"]) -> Float[Array, "*T"]:
    """sign(v) log(1 + |v|)."""
    return jnp.sign(v) * jnp.log1p(jnp.abs(v))


def symexp(x: Float[Array, "*T"]) -> Float[Array, "*T"]:
    """sign(x) (exp(|x|) - 1), the inverse of `symlog`; its derivative at 0 is 1."""
    return jnp.where(x < 0, -jnp.expm1(-x), jnp.expm1(x))


def edges(num_bins: int, limit: float) -> Float[np.ndarray, " E"]:
    """The E = K + 1 edges of K bins, in symlog."""
    return np.linspace(-math.log1p(limit), math.log1p(limit), num_bins + 1)


def target_distribution(target: Float[Array, "*T"], num_bins: int, limit: float) -> Float[Array, "*T K"]:
    """The probabilities of K bins for a target; a target outside ±limit counts as the limit."""
    e = edges(num_bins, limit)
    centre = symlog(jnp.clip(target, -limit, limit))[..., None]
    below = jax.lax.erf((e.astype(np.float32) - centre) / np.float32(math.sqrt(2) * SIGMA * (e[1] - e[0])))
    mass = jnp.maximum(jnp.diff(below), 0.0)  # erf in float32 is not quite monotone
    return mass / (below[..., -1:] - below[..., :1])


def mean_value(probabilities: Float[Array, "*T K"], limit: float) -> Float[Array, "*T"]:
    """The value of a distribution over the bins."""
    e = edges(probabilities.shape[-1], limit)
    centres = (e[:-1] / 2 + e[1:] / 2).astype(np.float32)
    return symexp((probabilities * centres).sum(-1))


def value_of_logits(logits: Float[Array, "*T K"], limit: float) -> Float[Array, "*T"]:
    """The value of the critic's logits."""
    return mean_value(jax.nn.softmax(logits), limit)


def hl_gauss_loss(logits: Float[Array, "*T K"], target: Float[Array, "*T"], limit: float) -> Float[Array, "*T"]:
    """-Σ_i p_i log q_i of the target's distribution p and the critic's q, for each token."""
    p = target_distribution(target, logits.shape[-1], limit)
    return -(p * jax.nn.log_softmax(logits)).sum(-1)
