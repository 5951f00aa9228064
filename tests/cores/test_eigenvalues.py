"""Eigenvalues that cores report are those of the dense Jacobian of one step of their state."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers import make_core
from rlformers.cores.registry import built_in

D = 8
LMU = {"channels": 2, "order": 4, "theta_min": 5.0, "theta_max": 20.0}


EIGENVALUES = jax.jit(lambda core, *segment: core.eigenvalues(*segment))
SCAN = jax.jit(lambda core, *segment: core.scan(*segment))


def layer(name):
    return lambda state: getattr(state.layers[0], name)


# Options, and where in the state the linear recurrence is. A dash marks a row that is slow for its
# own sake.
CORES = {
    "s5": ({"state_size": 8}, layer("h")),
    "s5-full": ({"state_size": 6, "conj_sym": False, "discretization": "bilinear"}, layer("h")),
    "lru": ({"state_size": 6}, layer("h")),
    "s4d-": ({"state_size": 4}, layer("h")),
    "ffm-": ({"traces": 3, "contexts": 2}, layer("S")),
    "lmu": (LMU, layer("m")),
    "lmuformer-": (LMU, lambda state: state.blocks[0].m),
    "spiking_lmuformer-": (LMU, lambda state: state.blocks[0].cell.m),
    "mingru-": ({}, layer("h")),
    "mamba": ({"state_size": 2}, layer("h")),
    "mamba2-": ({"state_size": 2, "head_size": 4}, layer("h")),
    "mamba3-": ({"state_size": 4, "head_size": 8}, layer("h")),
    "linear_attention-": ({"heads": 2}, layer("S")),
    "deltanet": ({"heads": 2, "expand": 1}, layer("S")),
    "mlstm-": ({"heads": 2, "expand": 1}, lambda state: state.layers[0].memory.C),
}
ROWS = [pytest.param(row, marks=pytest.mark.slow) if "-" in row else row for row in CORES]


def tokens(T):
    return np.random.default_rng(1).normal(size=(T, D)).astype(np.float32)


def dense_jacobian(core, where, state, x):
    """The Jacobian of a part of the state over one step, with complex numbers as pairs of real ones."""
    part = where(state)
    is_complex = jnp.iscomplexobj(part)

    def scale(state):
        """What the stabiliser of mLSTM divides its memory by."""
        stabiliser = getattr(getattr(state, "layers", (None,))[0], "memory", None)
        return jnp.ones(()) if stabiliser is None else jnp.exp(stabiliser.m)[:, None, None]

    def step(pair):
        h = (jax.lax.complex(*pair) if is_complex else pair) / scale(state)
        new, _ = core.step(eqx.tree_at(where, state, h), x, jnp.zeros((), bool))
        h = where(new) * scale(new)
        return jnp.stack([h.real, h.imag]) if is_complex else h

    pair = jnp.stack([part.real, part.imag]) if is_complex else part * scale(state)
    jacobian = jax.jit(jax.jacobian(step))(pair)
    return np.asarray(jacobian, float).reshape(pair.size, pair.size), is_complex


@pytest.mark.parametrize("row", ROWS)
def test_they_are_those_of_the_dense_jacobian(row):
    options, where = CORES[row]
    core = make_core(row.partition("-")[0], D, key=jax.random.key(0), **options)
    leaves, structure = jax.tree.flatten(core)
    rng = np.random.default_rng(2)
    noisy = [np.asarray(leaf) + 0.1 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    core = jax.tree.unflatten(structure, map(jnp.asarray, noisy))
    xs, no = tokens(7), np.zeros(6, bool)
    state, _ = SCAN(core, core.initial_state(), xs[:6], no)

    (reported,) = EIGENVALUES(core, state, xs[6:], no[:1])
    assert reported.shape[0] == 1 and reported.dtype == jnp.complex64
    jacobian, is_complex = dense_jacobian(core, where, state, jnp.asarray(xs[6]))
    expected = np.linalg.eigvals(jacobian)
    reported = np.asarray(reported[0], complex)
    if is_complex:  # as pairs of real numbers, λ becomes λ and its conjugate
        reported = np.concatenate([reported, reported.conj()])
    distances = np.abs(expected[:, None] - reported)
    assert distances.min(0).max() < 1e-3 and distances.min(1).max() < 1e-3
    assert np.ptp(np.abs(expected)) > 1e-3  # not all the same


def test_every_layer_gets_what_the_one_below_puts_out():
    """Over a segment they are those of the tokens one by one."""
    core = make_core("mingru", D, 2, key=jax.random.key(0))
    xs, starts = tokens(6), np.arange(6) == 3
    whole = EIGENVALUES(core, core.initial_state(), xs, starts)

    def step(state, token):
        x, start = token
        values = core.eigenvalues(state, x[None], start[None])
        return core.step(state, x, start)[0], [part[0] for part in values]

    _, one_by_one = jax.jit(lambda xs, starts: jax.lax.scan(step, core.initial_state(), (xs, starts)))(xs, starts)
    assert len(whole) == 2
    for part, expected in zip(whole, one_by_one, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-5)


def test_cores_without_a_linear_recurrence_say_nothing():
    """All others are rows of the table above; only the attention cores have attention."""
    silent, attending = set(), set()
    for name in built_in():

        def both(key, name=name):
            core = make_core(name, 16, 2, key=key)
            segment = core.initial_state(), jnp.zeros((3, 16)), jnp.zeros(3, bool)
            return core.eigenvalues(*segment), core.attention(*segment)

        values, weights = jax.eval_shape(both, jax.random.key(0))
        assert len(values) in (0, 2) and len(weights) in (0, 2)
        silent |= set() if values else {name}
        attending |= {name} if weights else set()
    assert set(built_in()) - silent == {
        *(row.partition("-")[0] for row in CORES),
        "stack",
    }  # the stack's: of its layers
    assert attending == {"gtrxl", "transformer", "stack"}
