"""The algorithms of the linear recurrences: equal values and gradients, exact starts, against a loop in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.cores.linear_scan import MATRIX_METHODS, METHODS, linear_scan, matrix_scan, scan_chunks

LENGTHS = (1, 2, 7, 40, 100)  # shorter and longer than a chunk, none a multiple of it
P, C, N = 3, 2, 4
SOME = ((40,), pytest.param((1, 2, 7, 100), marks=pytest.mark.slow))
OTHERS = ("associative", "doubling", "chunked")
ELEMENTWISE = [(method, varying, dtype) for method in OTHERS for varying in (False, True) for dtype in "fF"]
MATRIX = [(method, leading, dtype) for method in ("doubling", "chunked") for leading, dtype in (((), "f"), ((C,), "F"))]


def normal(rng, shape, dtype):
    a = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if dtype == "F" else 0)
    return a.astype(dtype)


def elementwise(T, varying, dtype):
    """Decays of modulus 0.5 to 1, inputs, starts, and a state before them."""
    rng = np.random.default_rng(T)
    a = normal(rng, (T, P) if varying else (P,), dtype)
    a *= rng.uniform(0.5, 1, a.shape).astype("f") / np.abs(a)
    return a, normal(rng, (T, P), dtype), rng.random(T) < 0.1, normal(rng, (P,), dtype)


def matrices(T, leading, dtype):
    """Matrices of spectral norm 0.95."""
    rng = np.random.default_rng(T)
    A = normal(rng, (*leading, N, N), dtype)
    A *= np.float32(0.95) / np.linalg.norm(A, 2, axis=(-2, -1), keepdims=True)
    return A, normal(rng, (T, C, N), dtype), rng.random(T) < 0.1, normal(rng, (C, N), dtype)


def loop(a, b, starts, h, product=np.multiply):
    """The definition."""
    wide = np.complex128 if np.iscomplexobj(b) else np.float64
    a, b, h = a.astype(wide), b.astype(wide), h.astype(wide)
    varying = product is np.multiply and a.ndim == b.ndim
    hs = []
    for t in range(len(b)):
        h = b[t] if starts[t] else product(a[t] if varying else a, h) + b[t]
        hs.append(h)
    return h, np.stack(hs)


def matvec(A, h):
    return (A @ h[..., None])[..., 0]


def assert_close(actual, expected, tolerance):
    for x, y in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * max(1, np.abs(y).max()))


@functools.partial(jax.jit, static_argnames=("scan", "method"))
def run(scan, a, b, starts, h, method):
    return scan(a, b, starts, h, method)


@functools.partial(jax.jit, static_argnames=("scan", "method"))
def run_with_gradients(scan, a, b, starts, h, method):
    def loss(a, b, h):
        states = scan(a, b, starts, h, method)
        return sum(jnp.sin(3 * z.real).sum() + jnp.cos(2 * z.imag).sum() for z in states), states

    gradients, states = jax.grad(loss, (0, 1, 2), has_aux=True)(a, b, h)
    return states, gradients


@functools.cache
def sequential_gradients(make, scan, *case):
    return run_with_gradients(scan, *make(*case), "sequential")[1]


@pytest.mark.parametrize("T", LENGTHS)
def test_sequential_scan_is_the_loop(T):
    for dtype in "fF":
        for a, b, starts, h in (elementwise(T, False, dtype), elementwise(T, True, dtype)):
            for pattern in (starts, np.arange(T) == 0, np.zeros(T, bool), np.ones(T, bool)):
                assert_close(run(linear_scan, a, b, pattern, h, "sequential"), loop(a, b, pattern, h), 1e-6)
        A, b, starts, h = matrices(T, (), dtype)
        assert_close(run(matrix_scan, A, b, starts, h, "sequential"), loop(A, b, starts, h, matvec), 1e-6)


@pytest.mark.parametrize(("method", "varying", "dtype"), ELEMENTWISE)
@pytest.mark.parametrize("lengths", SOME, ids=str)
def test_elementwise_methods_agree(method, varying, dtype, lengths):
    for T in lengths:
        arguments = elementwise(T, varying, dtype)
        states, gradients = run_with_gradients(linear_scan, *arguments, method)
        assert_close(states, loop(*arguments), 2e-6)
        assert_close(gradients, sequential_gradients(elementwise, linear_scan, T, varying, dtype), 2e-5)


@pytest.mark.parametrize(("method", "leading", "dtype"), MATRIX)
@pytest.mark.parametrize("lengths", SOME, ids=str)
def test_matrix_methods_agree(method, leading, dtype, lengths):
    for T in lengths:
        arguments = matrices(T, leading, dtype)
        states, gradients = run_with_gradients(matrix_scan, *arguments, method)
        assert_close(states, loop(*arguments, matvec), 2e-6)
        assert_close(gradients, sequential_gradients(matrices, matrix_scan, T, leading, dtype), 2e-5)


@pytest.mark.parametrize(
    ("scan", "method", "arguments"),
    [(linear_scan, method, elementwise(40, varying, "F")) for method in METHODS[1:] for varying in (False, True)]
    + [(matrix_scan, method, matrices(40, (), "f")) for method in MATRIX_METHODS[1:]],
)
def test_nothing_before_a_start_survives(scan, method, arguments):
    a, b, starts, h = arguments
    for t in (0, 1, 31, 32, 39):  # around the border of two chunks
        starts = starts.copy()
        starts[t] = True
        before = (np.arange(40) < t).reshape(-1, *[1] * (b.ndim - 1))
        clean = run(scan, a, b, starts, h, method)
        for poison in (np.nan, np.inf):
            dirty = run(scan, a, np.where(before, poison, b).astype(b.dtype), starts, np.full_like(h, poison), method)
            np.testing.assert_array_equal(dirty[0], clean[0])
            np.testing.assert_array_equal(dirty[1][t:], clean[1][t:])


@pytest.mark.parametrize(("backend", "methods"), [("cpu", ("sequential",) * 2), ("gpu", ("associative", "doubling"))])
def test_auto_picks_by_backend(backend, methods, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)

    def program(scan, arguments, method):
        return str(jax.make_jaxpr(lambda *arguments: scan(*arguments, method))(*arguments))

    cases = ((linear_scan, elementwise(40, True, "f"), METHODS), (matrix_scan, matrices(40, (), "f"), MATRIX_METHODS))
    for (*case, names), picked in zip(cases, methods, strict=True):
        same = {name for name in names if program(*case, name) == program(*case, "auto")}
        assert same == {"auto", picked}


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match="unknown method 'heinsen'"):
        run(linear_scan, *elementwise(7, False, "f"), "heinsen")
    with pytest.raises(ValueError, match="unknown method 'associative'"):
        run(matrix_scan, *matrices(7, (), "f"), "associative")


@pytest.mark.parametrize("T", [1, 4, 5, 8, 11])
def test_chunks_give_what_the_whole_gives(T):
    def f(carry, xs):
        """Depends on the order of the tokens, and has several inputs and outputs."""
        carry, ys = jax.lax.scan(lambda c, x: (jnp.tanh(c + x["u"]) * x["v"],) * 2, carry, xs)
        return carry, (ys, 2 * xs["v"])

    rng = np.random.default_rng(T)
    xs = {name: jnp.asarray(rng.standard_normal((T, P)), "f") for name in "uv"}
    state = jnp.ones(P)

    def loss(g, state, xs):
        last, (ys, vs) = g(state, xs)
        return jnp.sin(last).sum() + jnp.sin(3 * ys).sum() + (vs**2).sum()

    def chunks(state, xs):
        return scan_chunks(f, state, xs, chunk=4)

    assert_close(chunks(state, xs), f(state, xs), 1e-6)
    both = (jax.jit(jax.grad(functools.partial(loss, g), (0, 1)))(state, xs) for g in (chunks, f))
    assert_close(*both, 1e-5)
