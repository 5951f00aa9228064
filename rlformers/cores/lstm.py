"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate of Gers et al. 2000).

    i, f, o = σ(W x + b + U h)     g = tanh(W_g x + b_g + U_g h)     c' = f ⊙ c + i ⊙ g     h' = o ⊙ tanh(c')

A start replaces c and h by 0. W is LeCun-normal, U orthogonal per gate; biases are 0, the forget
gate's 1 (Jozefowicz et al. 2015). Gate order i, f, g, o as in torch.
"""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from rlformers.cores.core import Core
from rlformers.cores.layers import Linear, lecun_normal, orthogonal, per_gate
from rlformers.cores.products import matmul
from rlformers.cores.stack import Stack


@dataclass(frozen=True)
class Config:
    """Options of the LSTM."""

    forget_bias: float = 1.0  # initial bias of the forget gate


class LSTMState(NamedTuple):
    """Cell and hidden state."""

    c: Float[Array, " D"]
    h: Float[Array, " D"]


class LSTM(Core[LSTMState]):
    """One layer."""

    W: Linear  # x -> (i, f, g, o)
    U: Float[Array, "D G"]  # h -> (i, f, g, o), G = 4 D

    def __init__(self, width: int, forget_bias: float = 1.0, *, key: PRNGKeyArray):
        key_W, key_U = jax.random.split(key)
        W = Linear(width, 4 * width, key=key_W, init=per_gate(lecun_normal, 4))
        bias = jnp.zeros(4 * width).at[width : 2 * width].set(forget_bias)
        self.W = eqx.tree_at(lambda linear: linear.bias, W, bias)
        self.U = per_gate(orthogonal(), 4)(key_U, (width, 4 * width))

    def initial_state(self) -> LSTMState:
        """c = h = 0."""
        zeros = jnp.zeros(self.U.shape[0], self.U.dtype)
        return LSTMState(zeros, zeros)

    def step(
        self, state: LSTMState, x: Float[Array, " D"], start: Bool[ArrayLike, ""]
    ) -> tuple[LSTMState, Float[Array, " D"]]:
        """Consume one token."""
        return self._cell(state, self.W(x), start)

    def scan(
        self, state: LSTMState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[LSTMState, Float[Array, "T D"]]:
        """Consume a segment; one product with x serves all tokens."""
        return jax.lax.scan(lambda carry, token: self._cell(carry, *token), state, (self.W(xs), starts))

    def _cell(
        self, state: LSTMState, Wx: Float[Array, " G"], start: Bool[ArrayLike, ""]
    ) -> tuple[LSTMState, Float[Array, " D"]]:
        c, h = jax.tree.map(lambda initial, old: jnp.where(start, initial, old), self.initial_state(), state)
        i, f, g, o = jnp.split(Wx + matmul(h, self.U), 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return LSTMState(c, h), h


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """A stack of LSTM layers."""
    return Stack(tuple(LSTM(width, config.forget_bias, key=k) for k in jax.random.split(key, num_layers)))
