"""The nonlinear cells of the LMU; rlformers/cores/lmu.py has the equations.

Both start like the original: e_x and e_h LeCun-uniform, W Xavier-normal, e_m and biases 0. With
learned windows Ā = exp(A / θ), θ = exp(log_theta): θ stays positive and is learned on the scale on
which windows differ.
"""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from rlformers.cores.core import Core
from rlformers.cores.hippo import delay_memory, hold_block
from rlformers.cores.layers import Linear
from rlformers.cores.products import matmul, transition


class RecurrentState(NamedTuple):
    """Hidden state and coefficients."""

    h: Float[Array, " D"]
    m: Float[Array, "C N"]


class RecurrentLMU(Core[RecurrentState]):
    """A layer: the cell of keras-lmu with biases, the original without."""

    slow_fields: ClassVar[tuple[str, ...]] = ("log_theta",)

    e_x: Linear  # D -> C
    e_h: Float[Array, "D C"]
    e_m: Float[Array, "Q C"]  # Q = C N
    W_x: Linear  # D -> D
    W_h: Float[Array, "D D"]
    W_m: Float[Array, "Q D"]
    log_theta: Float[Array, " C"] | None  # only for learned windows
    thetas: tuple[float, ...] = eqx.field(static=True)
    order: int = eqx.field(static=True)

    def __init__(
        self, width: int, thetas: tuple[float, ...], order: int, biases: bool, learn_theta: bool, *, key: PRNGKeyArray
    ):
        key_ex, key_eh, key_Wx, key_Wh, key_Wm = jax.random.split(key, 5)
        C, Q = len(thetas), len(thetas) * order
        lecun_uniform, xavier_normal = initializers.lecun_uniform(), initializers.xavier_normal()
        self.e_x = Linear(width, C, key=key_ex, init=lecun_uniform, use_bias=biases)
        self.e_h = lecun_uniform(key_eh, (width, C))
        self.e_m = jnp.zeros((Q, C))
        self.W_x = Linear(width, width, key=key_Wx, init=xavier_normal, use_bias=biases)
        self.W_h = xavier_normal(key_Wh, (width, width))
        self.W_m = xavier_normal(key_Wm, (Q, width))
        self.log_theta = jnp.log(jnp.array(thetas)) if learn_theta else None
        self.thetas, self.order = thetas, order

    def initial_state(self) -> RecurrentState:
        """h = 0, m = 0."""
        dtype = self.W_h.dtype
        return RecurrentState(jnp.zeros(len(self.W_h), dtype), jnp.zeros((len(self.thetas), self.order), dtype))

    def step(
        self, state: RecurrentState, x: Float[Array, " D"], start: Bool[ArrayLike, ""]
    ) -> tuple[RecurrentState, Float[Array, " D"]]:
        """Consume one token."""
        return self._cell(self.memory(), state, self.e_x(x), self.W_x(x), start)

    def scan(
        self, state: RecurrentState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[RecurrentState, Float[Array, "T D"]]:
        """Consume a segment; windows and products with x are computed once for all tokens."""
        memory = self.memory()
        tokens = (self.e_x(xs), self.W_x(xs), starts)
        return jax.lax.scan(lambda carry, token: self._cell(memory, carry, *token), state, tokens)

    def memory(self) -> tuple[Float[Array, "C N N"], Float[Array, "C N"]]:
        """Ā and B̄."""
        dtype, N = self.W_h.dtype, self.order
        if self.log_theta is None:
            A, B = delay_memory(N, self.thetas)
            return jnp.asarray(A, dtype), jnp.asarray(B, dtype)
        blocks = jnp.asarray(hold_block(N), dtype) * jnp.exp(-self.log_theta)[:, None, None]
        exponentials = jax.vmap(jax.scipy.linalg.expm)(blocks)
        return exponentials[:, :N, :N], exponentials[:, :N, N]

    def _cell(
        self,
        memory: tuple[Array, Array],
        state: RecurrentState,
        ex: Float[Array, " C"],
        Wx: Float[Array, " D"],
        start: Bool[ArrayLike, ""],
    ) -> tuple[RecurrentState, Float[Array, " D"]]:
        A, B = memory
        h, m = jax.tree.map(lambda empty, old: jnp.where(start, empty, old), self.initial_state(), state)
        u = ex + matmul(h, self.e_h) + matmul(m.reshape(-1), self.e_m)
        m = transition(A, m) + B * u[:, None]
        h = jnp.tanh(Wx + matmul(h, self.W_h) + matmul(m.reshape(-1), self.W_m))
        return RecurrentState(h, m), h
