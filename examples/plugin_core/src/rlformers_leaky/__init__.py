"""A leaky integrator: h_t = a ⊙ h_{t-1} + (1 - a) ⊙ x_t, y_t = relu(W [h_t, x_t]), with a learned leak a = σ(α)."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rlformers.cores.core import Core
from rlformers.cores.layers import Linear
from rlformers.cores.linear_scan import linear_scan
from rlformers.cores.stack import Stack


@dataclass(frozen=True)
class Config:
    """Options: `core.memory` on the command line."""

    memory: float = 10.0  # memory of the slowest unit, in tokens

    def __post_init__(self):
        if self.memory < 1:
            raise ValueError(f"core.memory: need at least 1, got {self.memory}")


class State(NamedTuple):
    """The state between tokens."""

    h: Float[Array, " D"]


class Leaky(Core[State]):
    """One layer."""

    alpha: Float[Array, " D"]
    W: Linear

    def __init__(self, width, memory, *, key):
        leak = 1 - 1 / jnp.geomspace(1.1, memory + 1, width)
        self.alpha = jnp.log(leak / (1 - leak))
        self.W = Linear(2 * width, width, key=key)

    def initial_state(self):
        """h = 0."""
        return State(jnp.zeros_like(self.alpha))

    def scan(self, state, xs, starts):
        """Consume a segment. Each start drops the past. `step` is a segment of one token."""
        a = jax.nn.sigmoid(self.alpha)
        h, hs = linear_scan(a, (1 - a) * xs, starts, state.h)
        return State(h), jax.nn.relu(self.W(jnp.concatenate([hs, xs], axis=1)))


def make(config, width, num_layers, key):
    """What `core=leaky` builds."""
    return Stack(tuple(Leaky(width, config.memory, key=k) for k in jax.random.split(key, num_layers)))
