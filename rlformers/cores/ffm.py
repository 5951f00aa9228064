"""FFM: fast and forgetful memory (Morad et al. 2023).

    g = (W_g x + b) ⊙ σ(W_i x + b)      γ_mc = exp(-|α_m| + i ω_c)      S_t = γ ⊙ S_{t-1} + g_t 1ᵀ
    z = W_z [Re S, Im S] + b            o = σ(W_o x + b)
    y = LN(z) ⊙ o + (W_s x + b) ⊙ (1 - o)

Each of the m traces decays at its own rate α and turns at c frequencies ω, which record the time.
LN has no parameters. This is the form of the paper and its torch code, where the norm comes before
the output gate. |α| has no bound here: the authors need one because they divide by powers of γ,
which no scan here does. A start replaces S by 0.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from rlformers.cores.core import Core
from rlformers.cores.layers import Linear, standardize
from rlformers.cores.linear_scan import METHODS, linear_scan
from rlformers.cores.options import check_choices, check_least
from rlformers.cores.stack import Stack


@dataclass(frozen=True)
class Config:
    """Options of FFM."""

    traces: int = 32  # traces, m
    contexts: int = 4  # frequencies per trace, c
    max_period: float = 1024.0  # longest period, in tokens; the slowest trace decays to 1 % in it
    scan: str = "auto"  # algorithm of the recurrence

    def __post_init__(self) -> None:
        check_choices(self, scan=METHODS)
        check_least(self, traces=1, contexts=1, max_period=2)


class FFMState(NamedTuple):
    """The traces."""

    S: Complex[Array, "m C"]


class FFM(Core[FFMState]):
    """One layer."""

    slow_fields: ClassVar[tuple[str, ...]] = ("alpha", "omega")

    W_g: Linear
    W_i: Linear
    W_o: Linear
    W_s: Linear
    W_z: Linear
    alpha: Float[Array, " m"]
    omega: Float[Array, " C"]
    config: Config = eqx.field(static=True)

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        key_g, key_i, key_o, key_s, key_z = jax.random.split(key, 5)
        m, C = config.traces, config.contexts
        self.W_g = Linear(width, m, key=key_g)
        self.W_i = Linear(width, m, key=key_i)
        self.W_o = Linear(width, width, key=key_o)
        self.W_s = Linear(width, width, key=key_s)
        self.W_z = Linear(2 * m * C, width, key=key_z)
        # Log-spaced: with even spacing nearly all would be slow, and lags of a few tokens would
        # look alike.
        self.alpha = jnp.geomspace(0.5, math.log(100) / config.max_period, m)
        self.omega = 2 * jnp.pi / jnp.geomspace(2.0, config.max_period, C)
        self.config = config

    def initial_state(self) -> FFMState:
        """S = 0."""
        zeros = jnp.zeros((len(self.alpha), len(self.omega)), self.alpha.dtype)
        return FFMState(jax.lax.complex(zeros, zeros))

    def scan(
        self, state: FFMState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[FFMState, Float[Array, "T D"]]:
        """Consume a segment."""
        g = self.W_g(xs) * jax.nn.sigmoid(self.W_i(xs))
        gamma = self.decay()
        inputs = jnp.broadcast_to(g[..., None], (*g.shape, len(self.omega)))
        S, traces = linear_scan(gamma, inputs.astype(gamma.dtype), starts, state.S, self.config.scan)
        parts = jnp.stack([traces.real, traces.imag], axis=-1)
        z = standardize(self.W_z(parts.reshape(len(xs), -1)), eps=1e-5)
        o = jax.nn.sigmoid(self.W_o(xs))
        return FFMState(S), z * o + self.W_s(xs) * (1 - o)

    def decay(self) -> Complex[Array, "m C"]:
        """γ."""
        return jnp.exp(jax.lax.complex(*jnp.broadcast_arrays(-jnp.abs(self.alpha)[:, None], self.omega)))

    def eigenvalues(
        self, state: FFMState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """γ."""
        return (self.decay().reshape(1, -1),)


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of FFM layers."""
    return Stack(tuple(FFM(width, config, key=k) for k in jax.random.split(key, num_layers)))
