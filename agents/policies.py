"""From the actor's outputs to actions: one policy per kind of action space, on distrax distributions.

A policy works on arrays with any leading axes. Its distribution is over `raw` actions, which PPO
stores; `to_env` turns them into the environment's actions. Policies compare by value, so agents
that are built alike share one compiled program.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from rlformers.agents.boxes import HUGE, bounds_inside, into_box, is_integer
from rlformers.config.ppo import require
from rlformers.config.schema import POLICIES
from rlformers.errors import UserError

# The logit of a masked action. exp(-1e9) is 0 in float32, and gradients have no NaN as with -inf.
MASKED = -1e9


@runtime_checkable
class Policy(Protocol):
    """A family of distributions over the actions of one environment."""

    @property
    def num_outputs(self) -> int:
        """Outputs of the actor's last layer."""

    @property
    def num_scales(self) -> int:
        """Learned log standard deviations that do not depend on the observation."""

    def sample(self, key: PRNGKeyArray, outputs: Array) -> Array:
        """Draw a raw action."""

    def log_prob(self, outputs: Array, raw: Array) -> Array:
        """Log-probability of a raw action, up to terms that do not depend on the outputs."""

    def entropy(self, key: PRNGKeyArray, outputs: Array) -> Array:
        """Entropy, estimated from one sample if there is no closed form."""

    def mode(self, outputs: Array) -> Array:
        """The raw action of greedy evaluation."""

    def to_env(self, raw: Array) -> Array:
        """The environment's action."""


@dataclass(frozen=True)
class CategoricalPolicy:
    """One or several independent discrete choices; outputs are their logits side by side."""

    sizes: tuple[int, ...]
    scalar: bool  # whether the space is Discrete, whose actions have no last axis

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(map(int, self.sizes)))
        _distrax()

    @property
    def num_outputs(self) -> int:
        """The number of logits."""
        return sum(self.sizes)

    @property
    def num_scales(self) -> int:
        """0."""
        return 0

    def _choices(self, outputs: Float[Array, "*B A"]) -> list[Any]:
        parts = jnp.split(outputs, np.cumsum(self.sizes)[:-1], axis=-1)
        return [_distrax().Categorical(logits=logits) for logits in parts]

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
        """The most probable option of every choice."""
        return self._join([choice.mode() for choice in self._choices(outputs)])

    def to_env(self, raw: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
        """The raw action."""
        return raw

    def _join(self, parts: list[Array]) -> Array:
        parts = [part.astype(jnp.int32) for part in parts]
        return parts[0] if self.scalar else jnp.stack(parts, axis=-1)


@dataclass(frozen=True, init=False)
class GaussianPolicy:
    """A diagonal Gaussian around 0; `into_box` maps it into the box, by clipping or after a tanh.

    PPO stores raw actions, from before the squashing: log-probabilities of clipped actions would be
    biased, and of saturated tanh actions NaN. The Jacobian cancels in the importance ratio.
    """

    low: tuple[float, ...]  # [A], in row-major order; -inf means no bound
    high: tuple[float, ...]
    shape: tuple[int, ...]  # of the environment's action, A entries
    squash: bool
    dtype: str  # of the environment's action: an integer type or float32

    def __init__(self, low: Any, high: Any, shape: tuple[int, ...], squash: bool, dtype: Any = "float32"):
        """Store the bounds, numbers or arrays that broadcast to `shape`, as values.

        Raises:
            UserError: The bounds allow no action, or are missing although there is a tanh.
        """
        dtype = jax.dtypes.canonicalize_dtype(dtype).name if is_integer(dtype) else "float32"
        low, high = bounds_inside(low, high, shape, dtype)
        if squash and max(map(abs, low + high), default=0) > HUGE:
            raise UserError("model.policy: tanh_gaussian needs an action space with finite bounds; use gaussian")
        for name, value in {"low": low, "high": high, "shape": tuple(map(int, shape)), "squash": squash}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "dtype", dtype)
        _distrax()

    @property
    def num_outputs(self) -> int:
        """The number of means."""
        return len(self.low)

    @property
    def num_scales(self) -> int:
        """One per mean."""
        return len(self.low)

    def _distribution(self, outputs: Float[Array, "*B A2"]) -> Any:
        mean, log_std = jnp.split(outputs, 2, axis=-1)
        return _distrax().MultivariateNormalDiag(mean, jnp.exp(log_std))

    def sample(self, key: PRNGKeyArray, outputs: Float[Array, "*B A2"]) -> Float[Array, "*B A"]:
        """Draw an action before squashing."""
        return self._distribution(outputs).sample(seed=key)

    def log_prob(self, outputs: Float[Array, "*B A2"], raw: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        """Log-probability under the Gaussian."""
        return self._distribution(outputs).log_prob(raw)

    def entropy(self, key: PRNGKeyArray, outputs: Float[Array, "*B A2"]) -> Float[Array, "*B"]:
        """Entropy of the Gaussian; with a tanh, plus log|d tanh| of one sample."""
        distribution = self._distribution(outputs)
        if not self.squash:
            return distribution.entropy()
        sample = distribution.sample(seed=key)
        return distribution.entropy() + _distrax().Tanh().forward_log_det_jacobian(sample).sum(-1)

    def mode(self, outputs: Float[Array, "*B A2"]) -> Float[Array, "*B A"]:
        """The mean."""
        return self._distribution(outputs).mean()

    def to_env(self, raw: Float[Array, "*B A"]) -> Shaped[Array, "..."]:
        """A point of the box, [*B, *shape]."""
        squashed = jnp.tanh(raw) if self.squash else raw
        return into_box(squashed, self.low, self.high, self.dtype).reshape(*raw.shape[:-1], *self.shape)


def make_policy(space: Any, kind: str = "auto") -> Policy:
    """The policy for an action space: Discrete (`n`), MultiDiscrete (`nvec`) or Box (`low`, `high`, `shape`, `dtype`).

    Raises:
        UserError: Unknown kind, a kind that does not fit the space, or bounds that allow no action.
    """
    require(kind in POLICIES, "model.policy", f"one of {', '.join(POLICIES)}", kind)
    sizes = tuple(int(n) for n in space.nvec) if hasattr(space, "nvec") else None
    sizes = (int(space.n),) if hasattr(space, "n") else sizes
    if sizes is not None:
        if kind not in ("auto", "categorical"):
            raise UserError(f"model.policy: {kind!r} is for continuous actions; this environment has {space}")
        return CategoricalPolicy(sizes, scalar=hasattr(space, "n"))
    if not hasattr(space, "low"):
        raise UserError(f"env: no policy for the action space {space}")
    if kind == "categorical":
        raise UserError(f"model.policy: 'categorical' is for discrete actions; this environment has {space}")
    dtype = getattr(space, "dtype", "float32")
    return GaussianPolicy(space.low, space.high, tuple(space.shape), kind == "tanh_gaussian", dtype)


def mask_logits(outputs: Float[Array, "*B A"], mask: Bool[Array, "*B A"]) -> Float[Array, "*B A"]:
    """Make masked actions impossible."""
    return jnp.where(mask, outputs, MASKED)


def _distrax() -> Any:
    """Import the package, which takes seconds, when a policy is built and not with this module."""
    import distrax

    return distrax
