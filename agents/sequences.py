"""How a rollout of T steps in B environments becomes N = K B sequences to learn from.

A sequence trains on L tokens, T = K L. It begins `burn_in` tokens earlier; these only warm up its
memory (R2D2, Kapturowski et al. 2019, section 3). Before the rollout there are no tokens, so the
first sequence of an environment warms up on its own first `burn_in` tokens. Every other token of
the rollout is trained on, in one sequence.

    k = 0                 w w t t t t . .            w warms up, t is trained on,
    k = 1                         w w t t t t t t    . fills up the shape
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool


class Cut(NamedTuple):
    """Where sequences begin and end."""

    T: int  # steps of the rollout
    L: int  # tokens that a sequence trains on; divides T
    burn_in: int  # less than L

    @property
    def K(self) -> int:
        """Sequences per environment."""
        return self.T // self.L

    @property
    def times(self) -> np.ndarray:
        """The rollout step of each token of each sequence, int [w, K]."""
        begin = np.maximum(0, np.arange(self.K) * self.L - self.burn_in)
        return begin + np.arange(min(self.T, self.L + self.burn_in))[:, None]


def sequences(x: Any, cut: Cut) -> Any:
    """From [T, B, ...] to [w, K B, ...], with the k-th sequence of environment b in column k B + b."""

    def leaf(x: Array) -> Array:
        chex.assert_axis_dimension(x, 0, cut.T)
        windows = x[cut.times] if cut.K > 1 else x[:, None]
        return windows.reshape(len(windows), cut.K * x.shape[1], *x.shape[2:])

    return jax.tree.map(leaf, x)


def trained(cut: Cut, B: int) -> Bool[Array, "w N"] | None:
    """Which tokens after the first `burn_in` of every sequence are trained on; None means all."""
    inside = cut.times[cut.burn_in :] < (np.arange(cut.K) + 1) * cut.L
    return None if inside.all() else jnp.repeat(jnp.asarray(inside), B, axis=1)


def scan_sequences(step: Callable, carry: Any, xs: Any, cut: Cut, memory: Callable[[Any], Any]) -> tuple[Any, Any, Any]:
    """`jax.lax.scan` over T steps that also keeps the memories at the starts of sequences.

    Args:
        step: Takes a carry and consecutive elements of xs, leading axis l; returns a carry and ys
            [l, ...].
        carry: Before the first step.
        xs: Leading axis T.
        cut: Where sequences begin.
        memory: Takes a carry, returns memories [B, ...].

    Returns:
        The last carry; memories [K B, ...], ordered like the columns of `sequences`; ys [T, ...].
    """
    K, L, early = cut.K, cut.L, cut.L - cut.burn_in
    first = memory(carry)
    xs = jax.tree.map(lambda x: x.reshape(K, L, *x.shape[1:]), xs)

    def chunk(carry: Any, xs: Any) -> tuple[Any, tuple[Any, Any]]:
        carry, ys = step(carry, jax.tree.map(lambda x: x[:early], xs))
        start = memory(carry)
        if cut.burn_in:
            carry, late = step(carry, jax.tree.map(lambda x: x[early:], xs))
            ys = jax.tree.map(lambda *parts: jnp.concatenate(parts), ys, late)
        return carry, (start, ys)

    carry, (starts, ys) = jax.lax.scan(chunk, carry, xs)
    # The last chunk keeps the start of a sequence of the next rollout, which stores its own
    # memories.
    memories = jax.tree.map(lambda one, more: jnp.concatenate([one[None], more[:-1]]), first, starts)
    memories, ys = jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), (memories, ys))
    return carry, memories, ys
