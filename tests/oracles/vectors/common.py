"""Shared parts of the comparisons."""

import functools
import operator
from collections.abc import Callable, Iterator
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

KEY = jax.random.key(0)  # of parameters that are replaced
SCAN = jax.jit(lambda core, state, xs, starts: core.scan(state, xs, starts))
LOOP = jax.jit(lambda core, state, xs, starts: jax.lax.scan(lambda s, t: core.step(s, *t), state, (xs, starts)))
FORMS = (("scan", SCAN), ("step", LOOP))


class Arrays(dict):
    """The arrays of a file by name; `seen` has the names of those that were read."""

    def __init__(self, arrays: dict[str, jax.Array]):
        super().__init__(arrays)
        self.seen: set[str] = set()

    def __getitem__(self, name: str) -> jax.Array:
        self.seen.add(name)
        return super().__getitem__(name)


class Pair(NamedTuple):
    """Our array, and the file's array that it should equal, perhaps through a `view`."""

    array: str
    ours: jax.Array
    form: str = ""  # how ours came about, where there are several
    view: Callable[[np.ndarray], np.ndarray] = np.asarray
    upstream_error: float = 0.0  # of the expected array itself


def put(module, **leaves):
    """The module with these leaves; `a__b` is the leaf b of its field a."""
    for name, value in leaves.items():
        module = eqx.tree_at(operator.attrgetter(name.replace("__", ".")), module, value)
    return module


@functools.partial(jax.jit, static_argnums=0)
def batched(run, core, x, starts, states=None):
    """Over the environments of x [T, B, D] and starts [T, B]."""
    if states is None:
        states = jax.tree.map(lambda a: jnp.broadcast_to(a, (x.shape[1], *a.shape)), core.initial_state())
    return jax.vmap(run, (None, 0, 1, 1), (0, 1))(core, states, x, starts)


def no_starts(x):
    """For tokens [T, B, ...] of one memory."""
    return jnp.zeros(x.shape[:2], bool)


def resets(d, x):
    """The starts [T, B] of tokens [T, B, ...]: files have them per token, or per token and environment."""
    flags = d["resets"]
    return jnp.broadcast_to(flags.reshape(len(flags), -1), x.shape[:2])


def both(d, x) -> Iterator[tuple[str, jax.Array]]:
    """The runs of a file, as a suffix of arrays and starts [T, B]: one sequence, and the same with resets."""
    yield "", no_starts(x)
    if "resets" in d:
        yield "_resets", resets(d, x)


def constant(d, name, ours) -> None:
    """Refuse a file that was made with another number than the one written in our code.

    Raises:
        ValueError: It is another.
    """
    if name in d and not np.isclose(d[name], ours):
        raise ValueError(f"{name} is {d[name]}; in our code it is {ours}")
