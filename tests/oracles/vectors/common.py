"""What the comparisons share."""

import functools
import operator
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

KEY = jax.random.key(0)  # of parameters that are replaced
SCAN = jax.jit(lambda core, state, xs, starts: core.scan(state, xs, starts))
LOOP = jax.jit(lambda core, state, xs, starts: jax.lax.scan(lambda s, t: core.step(s, *t), state, (xs, starts)))


class Pair(NamedTuple):
    name: str
    ours: jax.Array
    expected: jax.Array
    upstream_error: float = 0.0  # of the expected array itself


def put(module, **leaves):
    """The module with these leaves; `a__b` is the leaf b of its field a."""
    for name, value in leaves.items():
        module = eqx.tree_at(operator.attrgetter(name.replace("__", ".")), module, value)
    return module


@functools.partial(jax.jit, static_argnums=0)
def batched(run, core, x, starts, states=None):
    """Over the environments of x [T, B, D]; starts [T] or [T, B]."""
    starts = jnp.broadcast_to(starts.reshape(len(starts), -1), x.shape[:2])
    if states is None:
        states = jax.tree.map(lambda a: jnp.broadcast_to(a, (x.shape[1], *a.shape)), core.initial_state())
    return jax.vmap(run, (None, 0, 1, 1), (0, 1))(core, states, x, starts)


def both(d):
    """The two runs of a file: one sequence, and the same with resets."""
    return (("", jnp.zeros_like(d["resets"])), ("_resets", d["resets"]))
