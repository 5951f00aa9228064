"""What is particular to the mLSTM: the block around its cell by a naive loop, extreme gates, initialisation."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import scan

from rlformers import make_core
from rlformers.cores.mlstm import NEVER, Memory, mlstm_scan

D, E, H, b, T = 8, 16, 2, 4, 12
STARTS = np.isin(np.arange(T), (5, 9))


def make(**options):
    return make_core("mlstm", D, key=jax.random.key(0), **{"heads": H} | options)


def noisy(tree):
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noise = [0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(structure, [x + n for x, n in zip(leaves, noise, strict=True)])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def layer_norm(x, p):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p.scale + p.bias


def naive(block, xs):
    """Token by token and without a stabiliser, in float64."""
    p = block.core
    V = E // H
    W_q, W_k, W_v = (
        np.block([[W[n] if n == m else np.zeros((b, b)) for m in range(E // b)] for n in range(E // b)])
        for W in (p.W_q, p.W_k, p.W_v)
    )
    ys = []
    for t, x in enumerate(xs):
        if t == 0 or STARTS[t]:
            past, C, n = [np.zeros(E)] * 3, np.zeros((H, V, V)), np.zeros((H, V))
        u, z = np.split(layer_norm(x, block.norm) @ p.W_up.weight, 2)
        past = [*past[-3:], u]
        c = sum(w * a for w, a in zip(p.conv.weight, past, strict=True)) + p.conv.bias
        c = c * sigmoid(c)
        q, k, v = c @ W_q, c @ W_k, u @ W_v
        i, f = np.split(np.concatenate([q, k, v]) @ p.W_if.weight + p.W_if.bias, 2)
        q, k, v = (a.reshape(H, V) for a in (q / np.sqrt(V), k, v))
        C = sigmoid(f)[:, None, None] * C + np.exp(i)[:, None, None] * k[:, :, None] * v[:, None]
        n = sigmoid(f)[:, None] * n + np.exp(i)[:, None] * k
        read, size = np.einsum("hk,hkv->hv", q, C), np.abs((q * n).sum(-1, keepdims=True))
        h = layer_norm(read / np.maximum(size, 1), p.norm).reshape(E) + p.skip * c
        ys.append(x + (h * z * sigmoid(z)) @ p.W_down.weight)
    return np.stack(ys)


def test_block():
    block = noisy(make(chunk=5).layers[0])
    xs = jax.random.normal(jax.random.key(2), (T, D))
    _, ys = scan(block, block.initial_state(), xs, jnp.asarray(STARTS))
    double = jax.tree.map(lambda a: np.asarray(a, np.float64), block)
    # The 1e-6 of the published cell, which shrinks with exp(m) in ours and is absent here, costs up
    # to 1e-5.
    np.testing.assert_allclose(ys, naive(double, np.asarray(xs, np.float64)), atol=5e-5)


@pytest.mark.parametrize("chunk", [1, 5])
def test_extreme_gates_stay_finite(chunk):
    q, k, v = (jax.random.normal(jax.random.key(s), (T, H, 3)) for s in range(3))
    empty = Memory(jnp.zeros((H, 3, 3)), jnp.zeros((H, 3)), jnp.full(H, NEVER))

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1))
    def total(i, f):
        return mlstm_scan(q, k, v, i, f, jnp.asarray(STARTS), empty, chunk)[1].sum()

    for i in (-300.0, 300.0):
        for f in (-300.0, 300.0):
            value, gradients = total(np.full((T, H), i, np.float32), np.full((T, H), f, np.float32))
            assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)


def test_a_memory_of_one_token_is_steep():
    """Why test_laws.py grants 1e-4 where every token starts: around q·k = 0 the normed read jumps from -v to v."""
    v = np.random.default_rng(0).normal(size=16)
    plain = SimpleNamespace(scale=1.0, bias=0.0)
    qk = np.linspace(-2, 2, 4001)  # with starts alone: h = v q·k / max(|q·k|, exp(-i)), here i = 0
    q, ones, zeros = jnp.asarray(qk[:, None, None], "f"), jnp.ones((4001, 1, 1)), jnp.zeros((4001, 1))
    empty = Memory(jnp.zeros((1, 1, 16)), jnp.zeros((1, 1)), jnp.full(1, NEVER))
    _, hs = mlstm_scan(q, ones, ones * v.astype("f"), zeros, zeros, jnp.ones(4001, bool), empty, chunk=1)
    np.testing.assert_allclose(hs[:, 0], v * (qk / np.maximum(np.abs(qk), 1))[:, None], atol=1e-5)
    slope = np.abs(np.gradient(layer_norm(np.asarray(hs[:, 0], float), plain), qk, axis=0)).max(1)
    assert slope.max() > 100 and np.median(slope) < 1e-3  # so an error of 1e-7 of q·k shows as more than 1e-5


def test_gates_see_nothing_at_first_and_forget_slowly():
    gates = make(heads=4).layers[0].core.W_if
    assert not gates.weight.any()
    np.testing.assert_allclose(gates.bias[4:], (3, 4, 5, 6), rtol=1e-6)
    assert 0 < np.abs(gates.bias[:4]).max() < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "core.heads: 3 does not divide the 16 channels"),
        ({"block_size": 5}, "core.block_size: 5 does not divide the 16 channels"),
        ({"expand": 0}, "core.expand: need at least 1, got 0"),
        ({"chunk": 0}, "core.chunk: need at least 1, got 0"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError) as error:
        make(**options)
    assert str(error.value) == message
