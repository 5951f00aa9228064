"""Gated recurrent unit (Cho et al. 2014, in the form of cuDNN and torch).

    r, z = σ(W x + b + U h)        n = tanh(W_n x + b_n + r ⊙ (U_n h + c_n))        h' = (1 - z) ⊙ n + z ⊙ h

A start replaces h by 0. W is LeCun-normal, U orthogonal per gate, biases are 0.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from rlformers.cores.core import Core
from rlformers.cores.layers import Linear, lecun_normal, orthogonal, per_gate
from rlformers.cores.products import matmul
from rlformers.cores.stack import Stack


@dataclass(frozen=True)
class Config:
    """The GRU has no options."""


class GRUState(NamedTuple):
    """The hidden state."""

    h: Float[Array, " D"]


class GRU(Core[GRUState]):
    """One layer."""

    W: Linear  # x -> (r, z, n)
    U: Float[Array, "D G"]  # h -> (r, z, n), G = 3 D
    c_n: Float[Array, " D"]

    def __init__(self, width: int, *, key: PRNGKeyArray):
        key_W, key_U = jax.random.split(key)
        # Per gate: an orthogonal concatenation would shrink each gate's matrix by √3.
        self.W = Linear(width, 3 * width, key=key_W, init=per_gate(lecun_normal, 3))
        self.U = per_gate(orthogonal(), 3)(key_U, (width, 3 * width))
        self.c_n = jnp.zeros(width)

    def initial_state(self) -> GRUState:
        """h = 0."""
        return GRUState(jnp.zeros_like(self.c_n))

    def step(
        self, state: GRUState, x: Float[Array, " D"], start: Bool[ArrayLike, ""]
    ) -> tuple[GRUState, Float[Array, " D"]]:
        """Consume one token."""
        return self._cell(state, self.W(x), start)

    def scan(
        self, state: GRUState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[GRUState, Float[Array, "T D"]]:
        """Consume a segment; one product with x serves all tokens."""
        return jax.lax.scan(lambda carry, token: self._cell(carry, *token), state, (self.W(xs), starts))

    def _cell(
        self, state: GRUState, Wx: Float[Array, " G"], start: Bool[ArrayLike, ""]
    ) -> tuple[GRUState, Float[Array, " D"]]:
        h = jnp.where(start, self.initial_state().h, state.h)
        x_r, x_z, x_n = jnp.split(Wx, 3)
        h_r, h_z, h_n = jnp.split(matmul(h, self.U), 3)
        r = jax.nn.sigmoid(x_r + h_r)
        z = jax.nn.sigmoid(x_z + h_z)
        n = jnp.tanh(x_n + r * (h_n + self.c_n))
        h = (1 - z) * n + z * h
        return GRUState(h), h


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of GRU layers."""
    del config
    return Stack(tuple(GRU(width, key=k) for k in jax.random.split(key, num_layers)))
