"""The laws of every core (rlformers/cores/core.py): one table of cores, one list of laws.

A new core is one more row. The slow rows repeat the laws at other sizes and in float64.
"""

from contextlib import nullcontext

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from law_cases import (
    CORES,
    FAST,
    FORMS,
    LOOP,
    NARROW,
    PREPARE,
    SCAN,
    SLOW,
    STARTS,
    STEEP,
    Case,
    assert_close,
    assert_same,
    build,
    largest,
    map_floats,
    marked,
    optimised_little,
    perturb,
    starts_of,
)

from rlformers.cores.products import precision
from rlformers.cores.registry import built_in


@pytest.fixture(params=[marked(c) for c in FAST] + [marked(c, pytest.mark.slow) for c in SLOW + NARROW], ids=str)
def setup(request):
    case = request.param
    with optimised_little() if case.x64 else nullcontext(), jax.enable_x64(case.x64), precision(case.compute):
        yield build(case)


def test_every_core_has_a_row():
    assert set(built_in()) == {name for name, _ in CORES.values()}


@pytest.mark.parametrize("pattern", STARTS)
def test_step_equals_scan(setup, pattern):
    name, _ = CORES.get(setup.case.row, (setup.case.row, {}))
    tolerance = setup.tolerance * (1 if setup.case.x64 else STEEP.get((name, pattern), 1))
    for T in setup.case.lengths:
        xs, starts = setup.tokens(T), starts_of(pattern, T)
        for state in (setup.dirty, perturb(setup.dirty), setup.core.initial_state()):
            (state_loop, ys_loop), (state_scan, ys_scan) = (f(setup.core, state, xs, starts) for f in (LOOP, SCAN))
            assert_close(ys_scan, ys_loop, tolerance)
            assert_close(state_scan, state_loop, tolerance)


@pytest.mark.parametrize("row", ["gru", "gtrxl", "mamba2", "s5"])  # the others, and the other laws, are slow rows
def test_step_equals_scan_in_bfloat16(row):
    with precision("bfloat16"):
        setup = build(Case(row, depth=1, lengths=(40,), compute="bfloat16"))
        for pattern in STARTS:
            test_step_equals_scan(setup, pattern)


def test_chain(setup):
    for T in setup.case.lengths[1:]:
        xs, starts = setup.tokens(T), starts_of("random", T)
        starts[T // 2] = False  # else nothing would be carried from the first segment to the second
        whole, ys_whole = SCAN(setup.core, setup.dirty, xs, starts)
        for k in range(1, T) if T < 10 else (T // 2,):  # every k where that is few programs
            state, ys_1 = SCAN(setup.core, setup.dirty, xs[:k], starts[:k])
            state, ys_2 = SCAN(setup.core, state, xs[k:], starts[k:])
            assert_close(np.concatenate([ys_1, ys_2]), ys_whole, setup.tolerance)
            assert_close(state, whole, setup.tolerance)


@pytest.mark.parametrize("form", FORMS)
def test_start_forgets(setup, form):
    run = FORMS[form]
    T = setup.case.lengths[-1]
    for t in (0, 3, T - 1):
        starts = starts_of("random", T) | (np.arange(T) == t)
        before = np.arange(T)[:, None] < t
        state, ys = run(setup.core, setup.dirty, setup.tokens(T), starts)

        other = np.where(before, 7 * setup.tokens(T, seed=6), setup.tokens(T))
        other_starts = np.where(before[:, 0], starts_of("dense", T), starts)
        other_state, other_ys = run(setup.core, perturb(setup.dirty), other, other_starts)
        assert_same((other_state, other_ys[t:]), (state, ys[t:]))

        for poison in (np.nan, np.inf):
            poisoned = map_floats(lambda x, poison=poison: np.full_like(x, poison), setup.dirty)
            other = np.where(before, np.float32(poison), setup.tokens(T))
            other_state, other_ys = run(setup.core, poisoned, other, starts)
            assert_same((other_state, other_ys[t:]), (state, ys[t:]))


@pytest.mark.parametrize("form", FORMS)
def test_causal(setup, form):
    T = setup.case.lengths[-1]
    xs, starts = setup.tokens(T), starts_of("random", T)
    _, ys = FORMS[form](setup.core, setup.dirty, xs, starts)
    for t in (1, T // 2, T - 1):
        after = np.arange(T) >= t
        other = np.where(after[:, None], setup.tokens(T, seed=6), xs)
        _, other_ys = FORMS[form](setup.core, setup.dirty, other, np.where(after, ~starts, starts))
        assert_same(other_ys[:t], ys[:t])
        assert t == T - 1 or not np.array_equal(other_ys[t:], ys[t:])  # one token may change no spike


# How many tokens back each layer looks, where that ends.
REACHES = {
    "mlp": (0,),
    "framestack": (4,),
    "gtrxl": (8,),
    "gtrxl-long": (50,),
    "gtrxl-learned": (8,),
    "transformer": (8,),
    "transformer-everything": (40,),
    "transformer-sinusoidal": (16,),  # two loops of 8
    "transformer-learned": (8,),
    "transformer-relative": (3, 40, 8),
}


def test_the_window_is_the_sum_of_what_the_layers_reach(setup):
    reaches = REACHES.get(setup.case.row)
    expected = sum((reaches * setup.case.depth)[: setup.case.depth]) if reaches else None
    assert setup.core.window == expected


ENDING = [marked(c) for c in FAST if c.row in REACHES]
ENDING += [marked(c, pytest.mark.slow) for c in SLOW if c.row in REACHES]


@pytest.mark.parametrize("setup", ENDING, indirect=True, ids=str)
def test_window(setup):
    """Tokens further back than the window do not matter, and some token as far back as it does."""
    window, T = setup.core.window, setup.case.lengths[-1]
    xs, starts = setup.tokens(T), np.zeros(T, bool)
    _, ys = SCAN(setup.core, setup.dirty, xs, starts)
    before = np.arange(T)[:, None] < T - 1 - window
    _, other_ys = SCAN(setup.core, perturb(setup.dirty), np.where(before, setup.tokens(T, seed=6), xs), starts)
    assert_same(other_ys[-1], ys[-1])
    if setup.case.depth == 1:  # through several layers, rounding hides the change of one token
        xs[T - 1 - window] *= -1
        _, other_ys = SCAN(setup.core, setup.dirty, xs, starts)
        assert not np.array_equal(other_ys[-1], ys[-1])


VMAPPED = jax.jit(lambda core, states, xs, starts: jax.vmap(core.scan, (0, 1, 1), (0, 1))(states, xs, starts))


def test_vmapped_equals_looped(setup):
    T, B = setup.case.lengths[1], 5
    xs = np.stack([setup.tokens(T, seed) for seed in range(B)], axis=1)
    starts = np.stack([starts_of("random", T, seed) for seed in range(B)], axis=1)
    empty = setup.core.initial_state()
    states = jax.tree.map(
        lambda *leaves: np.stack(leaves), setup.dirty, perturb(setup.dirty), empty, setup.dirty, empty
    )
    new, ys = VMAPPED(setup.core, states, xs, starts)
    for b in range(B):
        state, ys_b = SCAN(setup.core, jax.tree.map(lambda x, b=b: x[b], states), xs[:, b], starts[:, b])
        assert_close(ys[:, b], ys_b, setup.tolerance)
        assert_close(jax.tree.map(lambda x, b=b: x[b], new), state, setup.tolerance)

    order = np.array([3, 0, 4, 1, 2])
    permuted = jax.tree.map(lambda x: x[order], states)
    new, ys = jax.tree.map(np.asarray, (new, ys))
    new_permuted, ys_permuted = VMAPPED(setup.core, permuted, xs[:, order], starts[:, order])
    assert_close(ys_permuted, ys[:, order], setup.tolerance)
    assert_close(new_permuted, jax.tree.map(lambda x: x[order], new), setup.tolerance)


def loss(core, floats, rest, xs, starts, form):
    """Depends on every output and on every number of the last state."""
    state, ys = form(core, eqx.combine(floats, rest), xs, starts)
    total = jnp.sum(jnp.sin(3 * ys))
    for leaf in jax.tree.leaves(eqx.filter(state, eqx.is_inexact_array)):
        total += jnp.sum(jnp.sin(leaf.real)) + jnp.sum(jnp.cos(2 * leaf.imag))
    return total


GRADIENT = jax.jit(jax.grad(loss, (0, 1, 3)), static_argnames="form")


def gradient(setup, state, xs, starts, form):
    floats, rest = eqx.partition(state, eqx.is_inexact_array)
    of_core, of_state, of_xs = GRADIENT(setup.core, floats, rest, xs, starts, form=FORMS[form])
    # The empty slots of a memory are 0 by contract: no state that can occur has that derivative.
    return of_core, jax.tree.map(lambda g, x: np.where(np.asarray(x) == 0, 0, g), of_state, floats), of_xs


def test_gradient_of_scan_equals_gradient_of_loop(setup):
    T = setup.case.lengths[-1]
    xs, starts = setup.tokens(T), starts_of("random", T) & (np.arange(T) > 1)
    scan, loop = (gradient(setup, setup.dirty, xs, starts, form) for form in FORMS)
    assert largest(loop[2]) > 0
    assert_close(scan, loop, setup.gradient_tolerance)


LONG = ("gru", "gtrxl", "lmu", "mamba", "mlstm", "s5")  # one of each kind; the others are slow rows


@pytest.mark.parametrize("row", [row if row in LONG else pytest.param(row, marks=pytest.mark.slow) for row in CORES])
def test_gradients_are_finite_over_1024_tokens(row):
    setup, T = build(Case(row, width=8, depth=1)), 1024
    t = np.arange(T)
    for starts in (t < 0, t == 0, t >= 0, (t == 500) | (t == 501) | (t == T - 1)):
        for leaf in jax.tree.leaves(gradient(setup, setup.core.initial_state(), setup.tokens(T), starts, "scan")):
            assert np.isfinite(leaf).all()


def test_state_keeps_shape_and_dtype(setup):
    def describe(state):
        return [(x.shape, x.dtype) for x in jax.tree.leaves(state)]

    xs, starts = setup.tokens(20), starts_of("random", 20)
    initial = setup.core.initial_state()
    floats = ("float64", "complex128") if setup.case.x64 else ("float32", "complex64")
    assert all(x.dtype.name in (*floats, "int32", "bool") for x in jax.tree.leaves(initial))
    for new in (
        SCAN(setup.core, initial, xs, starts)[0],
        jax.eval_shape(setup.core.step, initial, xs[0], starts[0])[0],
        jax.eval_shape(setup.core.prepare, initial),
    ):
        assert jax.tree.structure(new) == jax.tree.structure(initial)
        assert describe(new) == describe(initial)


def test_every_leaf_is_an_array(setup):
    assert all(eqx.is_inexact_array(leaf) and not jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(setup.core))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(setup.core.initial_state()))


def test_output_is_independent_of_the_length(setup):
    xs, starts = setup.tokens(setup.case.lengths[-1]), starts_of("random", setup.case.lengths[-1])
    _, ys = SCAN(setup.core, setup.dirty, xs, starts)
    for T in setup.case.lengths[:-1]:
        _, prefix = SCAN(setup.core, setup.dirty, xs[:T], starts[:T])
        assert_close(prefix, ys[:T], setup.tolerance)


def test_prepare_changes_nothing_while_the_parameters_stay(setup):
    for state in (setup.dirty, setup.core.initial_state()):
        prepared = PREPARE(setup.core, state)
        assert_close(prepared, state, setup.tolerance)
        assert_same(PREPARE(setup.core, prepared), prepared)
