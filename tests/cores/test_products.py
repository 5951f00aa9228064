"""Products in three precisions: rounding, jax transformations, and the products of every core and agent."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from law_cases import CORES
from products_of import products

from rlformers.config.compose import compose
from rlformers.cores.products import PRECISIONS, conv, einsum, matmul, precision, rounded, transition
from rlformers.cores.registry import make_core
from rlformers.experiment.program.build import build

BFLOAT16 = ("bfloat16xbfloat16", "DEFAULT", "float32")
FLOAT32 = ("float32xfloat32", "HIGHEST", "float32")
KINDS = {"bfloat16": BFLOAT16, "float32": FLOAT32, "tfloat32": ("float32xfloat32", "HIGH", "float32")}
# exp of the matrices of learned windows, which jax takes in full precision whatever is in force:
# they are constants of a segment, and what they lose would grow with every token.
EXACT = {"lmu-keras": FLOAT32}


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng((seed, *shape)).normal(size=shape), jnp.float32)


def narrow(x):
    """To 8 significant bits, the nearest, ties to even."""
    return np.asarray(x).astype(jnp.bfloat16).astype(np.float64)


def conv_by_hand(x, kernel):
    """Of stride 2 on 4 x 4 pixels: padded by 1 at the end."""
    x = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    patches = [[x[:, i : i + 3, j : j + 3] for j in (0, 2)] for i in (0, 2)]
    return np.einsum("hwnkli,klio->nhwo", np.array(patches), kernel)


PRODUCTS = {
    "matmul": (matmul, np.matmul, (5, 7), (7, 3)),
    "vector": (matmul, np.matmul, (5, 7), (7,)),
    "batch": (matmul, np.matmul, (2, 5, 7), (2, 7, 3)),
    "einsum": (functools.partial(einsum, "...hi,hio->...ho"),) * 2 + ((4, 2, 7), (2, 7, 3)),
    "conv": (functools.partial(conv, stride=2), conv_by_hand, (2, 4, 4, 3), (3, 3, 3, 5)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_what_is_rounded(name):
    """Forward the operands, backward the cotangent and the other operand; no result, and no sum before its end."""
    product, by_hand, *shapes = PRODUCTS[name]
    if name == "einsum":
        by_hand = functools.partial(np.einsum, "...hi,hio->...ho")
    a, b = (normal(*shape) for shape in shapes)
    g = normal(*by_hand(a, b).shape, seed=1)

    @jax.jit
    def run(a, b, g):
        y, pull = jax.vjp(product, a, b)
        return y, *pull(g)

    def derivative(f, x):  # of a linear function, exactly
        columns = [np.vdot(narrow(g), f(e.reshape(x.shape))) for e in np.eye(x.size)]
        return np.array(columns).reshape(x.shape)

    expected = (
        by_hand(narrow(a), narrow(b)),
        derivative(lambda x: by_hand(x, narrow(b)), a),
        derivative(lambda x: by_hand(narrow(a), x), b),
    )
    with precision("bfloat16"):
        actual = run(a, b, g)
    for x, y, full in zip(actual, expected, run(a, b, g), strict=True):
        assert x.dtype == jnp.float32
        np.testing.assert_allclose(x, y, rtol=0, atol=2e-6 * np.abs(y).max())
        assert 2**-12 < np.abs(x - full).max() / np.abs(full).max() < 2**-7


def test_one_function_in_two_precisions():
    """The cache of `jax.jit` knows the precision."""
    core = make_core("gru", 8, 1, key=jax.random.key(0))
    scan = jax.jit(lambda core, xs: core.scan(core.initial_state(), xs, jnp.zeros(5, bool))[1])
    ys = {}
    for compute_dtype in ("float32", "bfloat16", "float32", "bfloat16"):
        with precision(compute_dtype):
            new = scan(core, normal(5, 8))
        np.testing.assert_array_equal(new, ys.setdefault(compute_dtype, new))
    assert 2**-12 < np.abs(ys["float32"] - ys["bfloat16"]).max() < 2**-6


def test_derivatives_of_a_batch():
    """Of weights that a batch shares: their sum, as one product; by themselves, those of each member."""
    xs, weight = normal(6, 5, 7), normal(7, 3)

    def loss(weight, x):
        return jnp.sin(matmul(x, weight)).sum()

    def of_sum(weight):
        return jax.vmap(loss, (None, 0))(weight, xs).sum()

    with precision("bfloat16"):
        each = jax.vmap(jax.grad(loss), (None, 0))(weight, xs)
        np.testing.assert_allclose(jax.grad(of_sum)(weight), each.sum(0), atol=1e-5)
        jaxpr = jax.make_jaxpr(jax.grad(of_sum))(weight)
        direction = normal(7, 3, seed=1)
        _, forward = jax.jvp(of_sum, (weight,), (direction,))
        second = jax.jvp(jax.grad(of_sum), (weight,), (direction,))[1]
    assert products(jaxpr.jaxpr) == {BFLOAT16: 2}
    assert not any(v.aval.shape == (6, 7, 3) for eqn in jaxpr.eqns for v in eqn.outvars)
    assert float(forward) == pytest.approx(np.vdot(each.sum(0), direction), rel=0.02)
    with precision("float32"):
        np.testing.assert_allclose(second, jax.jvp(jax.grad(of_sum), (weight,), (direction,))[1], atol=0.2)


@pytest.mark.parametrize("platform,operand", [("cuda", "bf16"), ("tpu", "bf16"), ("cpu", "f32")])
def test_what_compilers_get(platform, operand):
    """CPUs get numbers that were rounded, as float32."""
    with precision("bfloat16"):
        traced = jax.jit(matmul).trace(normal(5, 7), normal(7, 3))
        text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert f"(tensor<5x7x{operand}>, tensor<7x3x{operand}>) -> tensor<5x3xf32>" in text
    assert text.count("reduce_precision") == 2


def test_float64_stays():
    with jax.enable_x64(True), precision("bfloat16"):
        a = jnp.asarray(normal(5, 7), jnp.float64)
        y, derivative = jax.value_and_grad(lambda a: matmul(a, jnp.ones((7, 3), jnp.float32)).sum())(a)
    assert y.dtype == derivative.dtype == jnp.float64


def test_a_state_passes_a_transition_unrounded():
    """1 - 1/1000 is 1 in bfloat16, and 0.999 h is h in a state of bfloat16."""
    with precision("bfloat16"):
        A = 0.999 * np.eye(2)
        decay = jax.jit(lambda h: jax.lax.fori_loop(0, 1000, lambda _, h: transition(A, h), h))
        np.testing.assert_allclose(decay(jnp.ones(2)), 0.999**1000, rtol=0.01)


def test_rounded():
    x = normal(100)
    np.testing.assert_array_equal(rounded(x), x)
    with precision("bfloat16"):
        np.testing.assert_array_equal(rounded(x), narrow(x))


def gradient_of_scan(row):
    name, options = CORES[row]
    if "memory_per_layer" in options:
        options = options | {"memory_per_layer": options["memory_per_layer"][:1]}
    core = jax.eval_shape(lambda key: make_core(name, 8, 1, key=key, **options), jax.random.key(0))
    state = jax.eval_shape(lambda core: core.initial_state(), core)
    return jax.grad(lambda core, *rest: core.scan(*rest)[1].sum()), (core, state, normal(40, 8), np.zeros(40, bool))


def marked(rows, fast, *more):
    return [pytest.param(row, *more, marks=() if fast(row) else pytest.mark.slow) for row in rows]


@pytest.mark.parametrize(
    "row,compute_dtype",
    [
        *marked(CORES, lambda row: "-" not in row, "bfloat16"),
        *marked(CORES, lambda row: row in ("gru", "gtrxl", "mamba2"), "float32"),
        *marked(CORES, lambda row: row == "gru", "tfloat32"),
    ],
)
def test_products_of_cores(row, compute_dtype):
    gradient, arguments = gradient_of_scan(row)
    with precision(compute_dtype):
        found = products(jax.make_jaxpr(gradient)(*arguments).jaxpr)
    assert found[KINDS[compute_dtype]] > 0
    assert set(found) <= {KINDS[compute_dtype], EXACT.get(row)}


@pytest.mark.parametrize("compute_dtype", PRECISIONS)
def test_products_of_an_update(compute_dtype):
    """All products of an experiment (image encoder, core, heads, loss) are in its precision."""
    small = ["ppo.num_envs=2", "ppo.num_steps=4", "ppo.num_minibatches=1", "model.width=8", "total_steps=8"]
    config = compose(["env=gymnax/Breakout-MinAtar", "core=gru", f"model.compute_dtype={compute_dtype}", *small])
    learner = build(config).learner
    state = jax.eval_shape(learner.init, jax.random.key(0))
    found = products(jax.make_jaxpr(learner.update)(state).jaxpr)
    assert set(found) == {KINDS[compute_dtype]}
    assert found[KINDS[compute_dtype]] >= 20
