"""Frame stacking: the control with a fixed memory, which learns nothing (Mnih et al. 2015).

    y_t = relu(W [x_{t-K+1}, ..., x_t] + b)

Inputs from before the start are 0. A task that K inputs solve needs no recurrence. L stacked layers
see L (K - 1) + 1 inputs.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rlformers.cores.conv import dense_conv
from rlformers.cores.core import Core
from rlformers.cores.layers import orthogonal
from rlformers.cores.options import check_least
from rlformers.cores.stack import Stack


@dataclass(frozen=True)
class Config:
    """Options of frame stacking."""

    frames: int = 8  # inputs that a layer sees, with the present one, K

    def __post_init__(self) -> None:
        check_least(self, frames=1)


class FrameStackState(NamedTuple):
    """The inputs before the present one."""

    buffer: Float[Array, "k D"]  # k = K - 1, oldest first


class FrameStack(Core[FrameStackState]):
    """One layer."""

    W: Float[Array, "K D D"]
    b: Float[Array, " D"]

    def __init__(self, width: int, config: Config, *, key: PRNGKeyArray):
        self.W = orthogonal(2**0.5)(key, (config.frames * width, width)).reshape(config.frames, width, width)
        self.b = jnp.zeros(width)

    @property
    def window(self) -> int | None:
        """K - 1."""
        return len(self.W) - 1

    def initial_state(self) -> FrameStackState:
        """Zeros."""
        K, D, _ = self.W.shape
        return FrameStackState(jnp.zeros((K - 1, D), self.W.dtype))

    def scan(
        self, state: FrameStackState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[FrameStackState, Float[Array, "T D"]]:
        """Consume a segment."""
        buffer, ys = dense_conv(state.buffer, xs, starts, self.W)
        return FrameStackState(buffer), jax.nn.relu(ys + self.b)


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of layers."""
    return Stack(tuple(FrameStack(width, config, key=k) for k in jax.random.split(key, num_layers)))
