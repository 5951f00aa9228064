"""LMU: Legendre memory unit (Voelker et al. 2019; parallel form of Chilkuri & Eliasmith 2021).

Each of C channels holds the last θ_c inputs u_c as coefficients of N Legendre polynomials (rlformers/cores/hippo.py):

    m_c = Ā_c m_c + B̄_c u_c                        Ā_c, B̄_c: constants of θ_c and N, zero-order hold

* `parallel`, the default: u depends only on x, so the memory is a linear system,

    u = f_u(W_u x + b_u)      y = f_o(W_o [m, x] + b_o)      out = in + y, x = LayerNorm(in)

* `voelker`, the original cell with one channel; u sees the old h and m, h the new m,

    u = e_x x + e_h h + e_m m      h = tanh(W_x x + W_h h + W_m m)      out = h

* `keras`, the general cell of keras-lmu: the same with C channels, and biases in u and inside tanh.

A start replaces m and h by 0. In [m, x] the coefficients of the first channel come first.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from rlformers.cores.core import Core
from rlformers.cores.hippo import delay_eigenvalues, delay_memory, log_spaced_windows
from rlformers.cores.layers import NORMS, Linear, make_norm
from rlformers.cores.linear_scan import MATRIX_METHODS, matrix_scan
from rlformers.cores.lmu_cells import RecurrentLMU
from rlformers.cores.options import check_choices, check_least
from rlformers.cores.stack import Residual, Stack
from rlformers.errors import UserError

CELLS = ("parallel", "voelker", "keras")
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda x: x,
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "tanh": jnp.tanh,
}


@dataclass(frozen=True)
class Config:
    """Options of the LMU."""

    cell: str = "parallel"  # form of the LMU
    channels: int = 0  # number of channels, C; 0 means 1 for cell=voelker and 8 for the others
    order: int = 16  # polynomials per channel, N; details shorter than θ / N tokens are lost
    theta_min: float = 16.0  # shortest window in tokens; windows are log-spaced over the channels
    theta_max: float = 128.0  # longest window in tokens; a single channel has this one
    learn_theta: bool = False  # learn the windows; needs cell=voelker or keras
    input_activation: str = "identity"  # f_u, for cell=parallel
    output_activation: str = "gelu"  # f_o, for cell=parallel
    norm: str = "layer"  # norm of x, for cell=parallel
    scan: str = "auto"  # algorithm of the recurrence, for cell=parallel

    def __post_init__(self) -> None:
        activations = tuple(ACTIVATIONS)
        check_choices(self, cell=CELLS, input_activation=activations, output_activation=activations)
        check_choices(self, norm=NORMS, scan=MATRIX_METHODS)
        check_least(self, channels=0, order=1)
        check_windows(self.theta_min, self.theta_max)
        if self.cell == "voelker" and self.channels > 1:
            raise UserError(
                f"core.channels: need 1 with core.cell=voelker, got {self.channels}; core.cell=keras takes any number"
            )
        if self.cell == "parallel" and self.learn_theta:
            raise UserError("core.learn_theta: core.cell=parallel has constant windows; use voelker or keras")

    @property
    def thetas(self) -> tuple[float, ...]:
        """The window of each channel."""
        return log_spaced_windows(self.theta_min, self.theta_max, self.channels or (1 if self.cell == "voelker" else 8))


def check_windows(theta_min: float, theta_max: float) -> None:
    """Check the options of the same names.

    Raises:
        UserError: Not 1 <= theta_min <= theta_max.
    """
    if not 1 <= theta_min <= theta_max < math.inf:
        raise UserError(f"core.theta_min: need 1 <= theta_min <= theta_max, got {theta_min} and {theta_max}")


class MemoryState(NamedTuple):
    """The coefficients."""

    m: Float[Array, "C N"]


class ParallelLMU(Core[MemoryState]):
    """The parallel cell alone, without norm and residual."""

    W_u: Linear  # D -> C
    W_o: Linear  # (m, x) -> D
    thetas: tuple[float, ...] = eqx.field(static=True)
    order: int = eqx.field(static=True)
    f_u: str = eqx.field(static=True)
    f_o: str = eqx.field(static=True)
    method: str = eqx.field(static=True)

    def __init__(
        self,
        width: int,
        thetas: tuple[float, ...],
        order: int,
        f_u: str,
        f_o: str,
        method: str,
        *,
        key: PRNGKeyArray,
    ):
        key_u, key_o = jax.random.split(key)
        self.W_u = Linear(width, len(thetas), key=key_u)
        self.W_o = Linear(len(thetas) * order + width, width, key=key_o)
        self.thetas, self.order, self.f_u, self.f_o, self.method = thetas, order, f_u, f_o, method

    def initial_state(self) -> MemoryState:
        """m = 0."""
        return MemoryState(jnp.zeros((len(self.thetas), self.order), self.W_u.weight.dtype))

    def scan(
        self, state: MemoryState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[MemoryState, Float[Array, "T D"]]:
        """Consume a segment."""
        A, B = delay_memory(self.order, self.thetas)
        us = ACTIVATIONS[self.f_u](self.W_u(xs))
        m, ms = matrix_scan(A, us[..., None] * jnp.asarray(B, xs.dtype), starts, state.m, self.method)
        features = jnp.concatenate([ms.reshape(len(xs), -1), xs], axis=-1)
        return MemoryState(m), ACTIVATIONS[self.f_o](self.W_o(features))

    def eigenvalues(
        self, state: MemoryState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """The eigenvalues of Ā."""
        return (jnp.asarray(delay_eigenvalues(self.order, self.thetas), complex)[None],)


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of LMU layers."""

    def layer(key: PRNGKeyArray) -> Core:
        if config.cell != "parallel":
            biases = config.cell == "keras"
            return RecurrentLMU(width, config.thetas, config.order, biases, config.learn_theta, key=key)
        f_u, f_o = config.input_activation, config.output_activation
        cell = ParallelLMU(width, config.thetas, config.order, f_u, f_o, config.scan, key=key)
        return Residual(make_norm(config.norm, width), cell)

    return Stack(tuple(layer(k) for k in jax.random.split(key, num_layers)))
