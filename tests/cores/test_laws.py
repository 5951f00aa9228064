"""Laws of every core (rlformers/cores/core.py), over a table of cores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers import make_core

CORES = {"mlp": {}, "gru": {}, "lstm": {}, "s5": {"state_size": 8}, "gtrxl": {"memory": 6, "heads": 2}}
WIDTH, DEPTH, T = 8, 2, 17
SCAN = jax.jit(lambda core, state, xs, starts: core.scan(state, xs, starts))
LOOP = jax.jit(lambda core, state, xs, starts: jax.lax.scan(lambda s, token: core.step(s, *token), state, (xs, starts)))
STARTS = {
    "random": jnp.array([0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], bool),
    "dense": jnp.ones(T, bool),
    "absent": jnp.zeros(T, bool),
}

pytestmark = pytest.mark.parametrize("name", CORES)


def setup(name):
    core = make_core(name, WIDTH, DEPTH, key=jax.random.key(0), **CORES[name])
    xs = jax.random.normal(jax.random.key(1), (T, WIDTH))
    dirty, _ = SCAN(core, core.initial_state(), jax.random.normal(jax.random.key(2), (T, WIDTH)), STARTS["random"])
    return core, xs, dirty


def assert_close(a, b, tolerance=5e-6):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * max(1.0, float(jnp.abs(y).max())))


def assert_equal(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("starts", STARTS)
def test_step_equals_scan(name, starts):
    core, xs, dirty = setup(name)
    assert_close(SCAN(core, dirty, xs, STARTS[starts]), LOOP(core, dirty, xs, STARTS[starts]))


def test_chain(name):
    core, xs, dirty = setup(name)
    starts = STARTS["random"]
    whole = SCAN(core, dirty, xs, starts)
    middle, first = SCAN(core, dirty, xs[:7], starts[:7])
    last, second = SCAN(core, middle, xs[7:], starts[7:])
    assert_close((last, jnp.concatenate([first, second])), whole)


def test_start_forgets(name):
    core, xs, dirty = setup(name)
    starts = STARTS["absent"].at[5].set(True)
    other = xs.at[:5].add(3.0)
    state, ys = SCAN(core, dirty, xs, starts)
    state_other, ys_other = SCAN(core, core.initial_state(), other, starts.at[2].set(True))
    assert_equal((state, ys[5:]), (state_other, ys_other[5:]))


def test_start_forgets_nan(name):
    core, xs, dirty = setup(name)
    poisoned = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan) if jnp.issubdtype(x.dtype, jnp.inexact) else x, dirty)
    starts = STARTS["absent"].at[0].set(True)
    assert_equal(LOOP(core, poisoned, xs, starts), LOOP(core, dirty, xs, starts))


def test_causal(name):
    core, xs, dirty = setup(name)
    _, ys = SCAN(core, dirty, xs, STARTS["random"])
    _, changed = SCAN(core, dirty, xs.at[9:].add(1.0), STARTS["random"].at[11].set(True))
    assert_equal(ys[:9], changed[:9])
    if name != "mlp":
        assert not np.array_equal(ys[9:], changed[9:])


def test_gradients_of_scan_equal_those_of_a_loop(name):
    core, xs, dirty = setup(name)

    def loss(form):
        return jax.grad(lambda core, xs: jnp.sum(jnp.sin(form(core, dirty, xs, STARTS["random"])[1])), (0, 1))

    parallel, looped = loss(SCAN)(core, xs), loss(LOOP)(core, xs)
    largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(looped))
    for x, y in zip(jax.tree.leaves(parallel), jax.tree.leaves(looped), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-4 * largest)


def test_state_keeps_shapes_and_types_and_leaves_are_arrays(name):
    core, xs, dirty = setup(name)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(core))
    describe = lambda tree: [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]  # noqa: E731
    assert describe(core.initial_state()) == describe(dirty)
    assert describe(core.prepare(dirty)) == describe(dirty)
    assert_close(core.prepare(dirty), dirty)
