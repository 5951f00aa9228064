"""sLSTM against a loop over the paper's equations, before stabilisation, in float64; extreme gates; options."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers import make_core
from rlformers.cores.slstm import SLSTM, Config

T, D, H = 21, 8, 2
STARTS = np.isin(np.arange(T), (6, 7, 15))


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def build():
    """Away from the initial values, where R is 0."""
    core = SLSTM(D, Config(heads=H, conv_size=3), key=jax.random.key(0))
    leaves, structure = jax.tree.flatten(core)
    return jax.tree.unflatten(structure, [jnp.asarray(x + 0.5 * normal(i, *x.shape)) for i, x in enumerate(leaves)])


@jax.jit
def run(core, xs, starts):
    return core.scan(core.initial_state(), xs, starts)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def naive(core, xs, starts):
    """c_t = f c + i z, n_t = f n + i, h_t = o c_t / n_t with i = exp(.), f = σ(.): no stabiliser."""
    core, xs = jax.tree.map(lambda x: np.asarray(x, np.float64), (core, xs))
    hs, d = [], D // H
    for t in range(T):
        if t == 0 or starts[t]:
            c, n, h = np.zeros((3, D))
            past = np.zeros((3, D))
        past = np.concatenate([past[1:], xs[t : t + 1]])
        u = (past * core.conv.weight).sum(0) + core.conv.bias
        u = u * sigmoid(u)
        for head in range(H):
            units = slice(head * d, (head + 1) * d)
            inputs = np.concatenate([u[units] @ core.W_if[head], xs[t, units] @ core.W_zo[head]])
            i, f, z, o = np.split(inputs + h[units] @ core.R[head] + core.b[head], 4)
            c[units] = sigmoid(f) * c[units] + np.exp(i) * np.tanh(z)
            n[units] = sigmoid(f) * n[units] + np.exp(i)
            h[units] = sigmoid(o) * c[units] / n[units]
        hs.append(h.copy())
    hs = np.reshape(hs, (T, H, d))
    centred = hs - hs.mean(-1, keepdims=True)
    ys = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * core.norm.scale + core.norm.bias
    return ys.reshape(T, D), c, n


def test_equals_the_paper():
    core, xs = build(), normal(9, T, D)
    for starts in (STARTS, np.zeros(T, bool)):
        state, ys = run(core, xs, jnp.asarray(starts))
        expected, c, n = naive(core, xs, starts)
        np.testing.assert_allclose(ys, expected, atol=1e-4)  # a LayerNorm of 4 units magnifies rounding
        scale = np.exp(state.cell.m)
        np.testing.assert_allclose((state.cell.c * scale).ravel(), c, rtol=1e-4, atol=1e-5 * np.abs(c).max())
        np.testing.assert_allclose((state.cell.n * scale).ravel(), n, rtol=1e-4)
        assert (state.cell.n >= 1).all()


@jax.jit
@functools.partial(jax.value_and_grad, argnums=(0, 1))
def loss_and_gradients(core, xs):
    state, ys = core.scan(core.initial_state(), xs, jnp.asarray(STARTS))
    return jnp.sum(ys**2) + sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("size", [100.0, -100.0, 1e4, -1e4])
@pytest.mark.parametrize("gate", [0, 1], ids=["i", "f"])
def test_extreme_gates_are_finite(gate, size):
    core, d = build(), D // H
    W_if = core.W_if.at[:, :, gate * d : (gate + 1) * d].multiply(abs(size))
    b = core.b.at[:, gate * d : (gate + 1) * d].set(size)
    extreme = eqx.tree_at(lambda core: (core.W_if, core.b), core, (W_if, b))
    value, gradients = loss_and_gradients(extreme, normal(9, T, D))
    assert jnp.isfinite(value)
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(gradients))


@pytest.mark.parametrize("depth, half_way", [(0.0, 5 - 12 * 0.5**0.3), (1.0, 5 - 12 * 0.5**1.6)])
def test_initial_values(depth, half_way):
    core = SLSTM(68, Config(), depth, key=jax.random.key(0))
    np.testing.assert_array_equal(core.R, 0)
    i, f, z, o = jnp.split(core.b, 4, axis=-1)
    np.testing.assert_array_equal(jnp.stack([i, z, o]), 0)
    np.testing.assert_allclose(f[:, [0, 8, 16]], np.tile([5, half_way, -7], (4, 1)), rtol=1e-5)
    for W in (core.W_if, core.W_zo):
        assert 0.9 < W.std() * 17**0.5 < 1.1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"heads": 0}, "core.heads: need at least 1, got 0"),
        ({"heads": 3}, "core.heads: width 8 is not divisible by heads=3"),
        ({"conv_size": 0}, "core.conv_size: need at least 1, got 0"),
        ({"ffn_ratio": 0.0}, "core.ffn_ratio: need a positive number, got 0.0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError) as error:
        make_core("slstm", 8, key=jax.random.key(0), **options)
    assert str(error.value) == message
