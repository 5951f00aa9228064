"""From the outputs of the actor to actions: one policy per kind of action space, on distrax distributions.

A policy works on arrays with any leading axes. `raw` actions are what the distribution is over and what PPO stores;
`to_env` turns them into what the environment takes.
"""

from typing import Any, Protocol, runtime_checkable

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

# A mask makes an action impossible up to float32: exp(-1e9) = 0, without the NaNs of -inf in gradients.
MASKED = -1e9


@runtime_checkable
class Policy(Protocol):
    """A family of distributions over the actions of one environment."""

    num_outputs: int  # of the actor's last layer
    num_scales: int  # learned log standard deviations that do not depend on the observation

    def sample(self, key: PRNGKeyArray, outputs: Array) -> Array:
        """Draw a raw action."""

    def log_prob(self, outputs: Array, raw: Array) -> Array:
        """Log-probability of a raw action, up to terms that do not depend on the outputs."""

    def entropy(self, key: PRNGKeyArray, outputs: Array) -> Array:
        """Entropy, estimated from one sample where there is no closed form."""

    def mode(self, outputs: Array) -> Array:
        """The raw action of greedy evaluation."""

    def to_env(self, raw: Array) -> Array:
        """The environment's action."""


class CategoricalPolicy:
    """One or several independent discrete choices; outputs are their logits side by side."""

    def __init__(self, sizes: tuple[int, ...], scalar: bool):
        self.sizes = sizes
        self.scalar = scalar  # a Discrete space: actions have no last axis
        self.num_outputs = sum(sizes)
        self.num_scales = 0

    def _choices(self, outputs: Float[Array, "*B A"]) -> list[distrax.Categorical]:
        parts = jnp.split(outputs, np.cumsum(self.sizes)[:-1], axis=-1)
        return [distrax.Categorical(logits=logits) for logits in parts]

    def sample(self, key: PRNGKeyArray, outputs: Float[Array, "*B A"]) -> Shaped[Array, "..."]:
        """Draw every choice."""
        choices = self._choices(outputs)
        keys = jax.random.split(key, len(choices))
        return self._join([choice.sample(seed=k) for choice, k in zip(choices, keys, strict=True)])

    def log_prob(self, outputs: Float[Array, "*B A"], raw: Shaped[Array, "..."]) -> Float[Array, "*B"]:
        """Sum over the choices."""
        raw = raw[..., None] if self.scalar else raw
        return sum(choice.log_prob(raw[..., i]) for i, choice in enumerate(self._choices(outputs)))

    def entropy(self, key: PRNGKeyArray, outputs: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        """Sum over the choices."""
        del key
        return sum(choice.entropy() for choice in self._choices(outputs))

    def mode(self, outputs: Float[Array, "*B A"]) -> Shaped[Array, "..."]:
        """The most probable of every choice."""
        return self._join([choice.mode() for choice in self._choices(outputs)])

    def to_env(self, raw: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
        """The same."""
        return raw

    def _join(self, parts: list[Array]) -> Array:
        parts = [part.astype(jnp.int32) for part in parts]
        return parts[0] if self.scalar else jnp.stack(parts, axis=-1)


class GaussianPolicy:
    """A diagonal Gaussian around 0; [-1, 1] is mapped to the bounds of the box, by clipping or by tanh.

    Raw actions are stored before the squashing: log-probabilities of clipped actions are biased, those of saturated
    tanh actions are NaN, and the Jacobian cancels in the importance ratio.
    """

    def __init__(self, low: Any, high: Any, shape: tuple[int, ...], squash: bool):
        low, high = np.broadcast_to(low, shape), np.broadcast_to(high, shape)
        bounded = np.isfinite(low) & np.isfinite(high)
        if squash and not bounded.all():
            raise ValueError("model.policy: tanh_gaussian needs an action space with finite bounds; use gaussian")
        self.shape = shape
        self.squash = squash
        self.num_outputs = self.num_scales = int(np.prod(shape))
        self.bounded = bounded
        with np.errstate(invalid="ignore"):
            self.centre = np.where(bounded, (low + high) / 2, 0.0).astype(np.float32)
            self.half = np.where(bounded, (high - low) / 2, 1.0).astype(np.float32)

    def _distribution(self, outputs: Float[Array, "*B A2"]) -> distrax.MultivariateNormalDiag:
        mean, log_std = jnp.split(outputs, 2, axis=-1)
        return distrax.MultivariateNormalDiag(mean, jnp.exp(log_std))

    def sample(self, key: PRNGKeyArray, outputs: Float[Array, "*B A2"]) -> Float[Array, "*B A"]:
        """Draw before squashing."""
        return self._distribution(outputs).sample(seed=key)

    def log_prob(self, outputs: Float[Array, "*B A2"], raw: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        """Of the Gaussian."""
        return self._distribution(outputs).log_prob(raw)

    def entropy(self, key: PRNGKeyArray, outputs: Float[Array, "*B A2"]) -> Float[Array, "*B"]:
        """Of the Gaussian; with tanh plus the sampled mean of log|d tanh|."""
        distribution = self._distribution(outputs)
        if not self.squash:
            return distribution.entropy()
        sample = distribution.sample(seed=key)
        return distribution.entropy() + distrax.Tanh().forward_log_det_jacobian(sample).sum(-1)

    def mode(self, outputs: Float[Array, "*B A2"]) -> Float[Array, "*B A"]:
        """The mean."""
        return self._distribution(outputs).mean()

    def to_env(self, raw: Float[Array, "*B A"]) -> Float[Array, "..."]:
        """Squash into the box."""
        squashed = jnp.tanh(raw) if self.squash else jnp.where(self.bounded.ravel(), jnp.clip(raw, -1, 1), raw)
        return jnp.asarray(self.centre + self.half * squashed.reshape(*raw.shape[:-1], *self.shape))


def make_policy(space: Any, kind: str = "auto") -> Policy:
    """The policy for an action space: Discrete (`n`), MultiDiscrete (`nvec`) or Box (`low`, `high`, `shape`).

    Raises:
        ValueError: The kind does not fit the space.
    """
    sizes = tuple(int(n) for n in space.nvec) if hasattr(space, "nvec") else None
    sizes = (int(space.n),) if hasattr(space, "n") else sizes
    if sizes is not None:
        if kind not in ("auto", "categorical"):
            raise ValueError(f"model.policy: {kind!r} is for continuous actions; this environment has {space}")
        return CategoricalPolicy(sizes, scalar=hasattr(space, "n"))
    if not hasattr(space, "low"):
        raise ValueError(f"env: no policy for the action space {space}")
    if kind == "categorical":
        raise ValueError(f"model.policy: 'categorical' is for discrete actions; this environment has {space}")
    return GaussianPolicy(space.low, space.high, tuple(space.shape), squash=kind == "tanh_gaussian")


def mask_logits(outputs: Float[Array, "*B A"], mask: Bool[Array, "*B A"]) -> Float[Array, "*B A"]:
    """Make masked actions impossible."""
    return jnp.where(mask, outputs, MASKED)
