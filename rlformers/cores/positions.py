"""How tokens know their positions: by distance, by rotation, or by the number of steps since the start.

    distance    scores grow by q · r_d: r_d = W_r [sin(d ω), cos(d ω)] (Dai et al. 2019), or learned for every d
                (Huang et al. 2019, with the same shift of scores); or by -m_h d, m_h = 2^(-8h/H) (Press et al. 2022)
    rotation    R(t) q_t · R(j) k_j depends only on t - j, so slots of the memory serve as j (Su et al. 2021)
    absolute    x_t + PE(p), p steps since the start: PE(p) = [sin(p ω_1), cos(p ω_1), sin(p ω_2), ...]
                (Vaswani et al. 2017), or a learned table

with ω_i = 10000^(-2i/D).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rlformers.cores.attention import Positions, memory_lengths
from rlformers.cores.core import Core
from rlformers.cores.layers import Linear, xavier_uniform


def _frequencies(width: int) -> Float[np.ndarray, " n"]:
    return 10000.0 ** (-np.arange(0, width, 2) / width)


def sinusoids(M: int, width: int) -> Float[np.ndarray, "R D"]:
    """Embeddings [sin(d ω), cos(d ω)] of the distances d = M .. 0, all sines first."""
    angles = np.arange(M, -1, -1)[:, None] * _frequencies(width)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width]


class SinusoidalDistances(eqx.Module):
    """r_d = W_r [sin(d ω), cos(d ω)]."""

    W: Linear
    M: int = eqx.field(static=True)
    H: int = eqx.field(static=True)

    def __init__(self, M: int, width: int, H: int, d: int, *, key: PRNGKeyArray):
        self.W = Linear(width, H * d, key=key, init=xavier_uniform, use_bias=False)
        self.M, self.H = M, H

    def __call__(self) -> Float[Array, "R H d"]:
        """r_M .. r_0."""
        weight = self.W.weight
        return self.W(jnp.asarray(sinusoids(self.M, len(weight)), weight.dtype)).reshape(self.M + 1, self.H, -1)


class LearnedDistances(eqx.Module):
    """r_d is a separate parameter for every distance and head."""

    r: Float[Array, "R H d"]

    def __init__(self, M: int, H: int, d: int, *, key: PRNGKeyArray):
        self.r = d**-0.5 * jax.random.normal(key, (M + 1, H, d))

    def __call__(self) -> Float[Array, "R H d"]:
        """r_M .. r_0."""
        return self.r


def alibi(q: Float[Array, "*T H d"], M: int) -> Positions:
    """Scores that fall by m_h per step of distance, for every query."""
    H = q.shape[-2]
    slopes = jnp.asarray(2.0 ** (-8 * np.arange(1, H + 1) / H), q.dtype)
    distances = jnp.arange(M, -1, -1, dtype=q.dtype)
    shapes = (*q.shape[:-1], 1), (M + 1, H, 1)
    return Positions(
        jnp.broadcast_to(slopes[:, None], shapes[0]), jnp.broadcast_to(-distances[:, None, None], shapes[1])
    )


def rotate(x: Float[Array, "*T H d"], positions: Int[np.ndarray, "*T"]) -> Float[Array, "*T H d"]:
    """Turn each pair (x_i, x_{i + d/2}) by the angle of its position times ω_i."""
    # In float64, because small differences of large angles matter.
    angles = np.asarray(positions)[..., None, None] * _frequencies(x.shape[-1])
    cos, sin = jnp.asarray(np.cos(angles), x.dtype), jnp.asarray(np.sin(angles), x.dtype)
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


class Clock(NamedTuple):
    """Steps since the start."""

    p: Int[Array, ""]


class AbsolutePositions(Core[Clock]):
    """Adds PE(p) to the input. With a table of R rows, tokens from p = R - 1 on share the last row."""

    table: Float[Array, "R D"] | None

    @property
    def window(self) -> int | None:
        """0: other tokens do not matter."""
        return 0

    def initial_state(self) -> Clock:
        """p = 0: the next token is the first."""
        return Clock(jnp.zeros((), jnp.int32))

    def scan(
        self, state: Clock, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Clock, Float[Array, "T D"]]:
        """Consume a segment."""
        last = np.iinfo(np.int32).max if self.table is None else len(self.table) - 1
        positions, p = memory_lengths(starts, state.p, last)
        return Clock(p), xs + self.embed(positions, xs)

    def embed(self, positions: Int[Array, " T"], like: Float[Array, "T D"]) -> Float[Array, "T D"]:
        """PE at these positions, in the shape and type of `like`."""
        if self.table is not None:
            return self.table[positions]
        angles = positions[:, None] * jnp.asarray(_frequencies(like.shape[-1]), like.dtype)
        return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(len(like), -1)[:, : like.shape[-1]]
