"""Cores at random parameters, all biases included, against the recurrences written out in NumPy."""

import jax
import jax.numpy as jnp
import naive
import numpy as np
import pytest

from rlformers import make_core
from rlformers.cores import s5
from rlformers.cores.gtrxl import GATES

T, WIDTH = 23, 8
CASES = [
    ("gru", {}),
    ("lstm", {}),
    *(("s5", {"state_size": 6, "activation": a}) for a in s5.ACTIVATIONS),
    ("s5", {"state_size": 6, "discretization": "bilinear", "conj_sym": False, "scan": "associative"}),
    *(("gtrxl", {"memory": 5, "heads": 2, "gate": gate}) for gate in GATES),
    ("gtrxl", {"memory": 30, "heads": 2, "head_size": 3}),
]


def reference(name, core, xs, starts, initial):
    """Outputs and last state, of one layer except for GTrXL."""
    if name == "gtrxl":
        return naive.gtrxl(core, xs, starts)
    (layer,), (state,) = core.layers, initial.layers
    return getattr(naive, name)(layer, xs, starts, *(np.asarray(leaf) for leaf in state))


# The first case of a core always; other options of it in the slow rows.
FIRST = [CASES[[name for name, _ in CASES].index(name)] for name in ("gru", "lstm", "s5", "gtrxl")]


@pytest.mark.parametrize(
    ("name", "options"),
    [pytest.param(*case, marks=[] if case in FIRST else pytest.mark.slow) for case in CASES],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_core_equals_naive_recurrence(name, options):
    with jax.enable_x64(True):
        core = make_core(name, WIDTH, 2 if name == "gtrxl" else 1, key=jax.random.key(0), **options)
        leaves, structure = jax.tree.flatten(core)
        keys = jax.random.split(jax.random.key(1), len(leaves))
        leaves = [x + 0.5 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
        core = jax.tree.unflatten(structure, leaves)
        xs = jax.random.normal(jax.random.key(2), (T, WIDTH))
        starts = np.isin(np.arange(T), (4, 11, 12))
        expected, *last = reference(name, core, xs, starts, core.initial_state())
        state, ys = jax.jit(lambda core: core.scan(core.initial_state(), xs, jnp.asarray(starts)))(core)
        np.testing.assert_allclose(ys, expected, rtol=0, atol=1e-10)
        if name == "gtrxl":
            for layer, tokens in zip(state.layers, last[0], strict=True):
                assert layer.valid == len(tokens)
                np.testing.assert_allclose(layer.mem[-len(tokens) :], np.stack(tokens), rtol=0, atol=1e-10)
                assert not layer.mem[: -len(tokens)].any()
        else:
            for leaf, number in zip(state.layers[0], last, strict=True):
                np.testing.assert_allclose(leaf, number, rtol=0, atol=1e-10)
