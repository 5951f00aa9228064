"""`attention` shows the weights that `scan` uses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers import make_core
from rlformers.cores.attention import Positions, attend, attention_weights

H, d = 2, 4


def random(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def naive(q, k, lengths, M, positions):
    """Softmax over the visible keys, query by query."""
    T = len(q)
    weights = np.zeros((H, T, M + T))
    for t in range(T):
        for h in range(H):
            keys = np.arange(M + t - lengths[t], M + t + 1)
            scores = k[keys, h] @ q[t, h]
            if positions is not None:
                scores = scores + positions.r[M - (M + t - keys), h] @ positions.q[t, h]
            weights[h, t, keys] = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    return weights


@pytest.mark.parametrize("T,M,relative", [(5, 3, True), (70, 40, False), (70, 3, True)])
def test_weights_are_a_softmax_and_make_the_output(T, M, relative):
    q, k, v = random(0, T, H, d), random(1, M + T, H, d), random(2, M + T, H, d)
    lengths = np.minimum(M, np.arange(T) % 41).astype(np.int32)
    positions = Positions(random(3, T, H, d), random(4, M + 1, H, d)) if relative else None
    weights, out = (jax.jit(f)(q, k, v, lengths, positions) for f in (attention_weights, attend))
    np.testing.assert_allclose(weights, naive(q, k, lengths, M, positions), atol=2e-6)
    np.testing.assert_allclose(np.einsum("htk,khd->thd", weights, v), out, atol=1e-5)


@pytest.mark.parametrize("name", ["gtrxl", "transformer"])
def test_weights_of_a_core_make_its_output(name):
    """From a memory that is not empty, over a start, in both layers."""
    M, D, T = 6, 8, 40
    core = make_core(name, D, 2, key=jax.random.key(0), memory=M, heads=H)
    leaves, structure = jax.tree.flatten(core)
    core = jax.tree.unflatten(structure, [leaf + 0.3 * random(i, *leaf.shape) for i, leaf in enumerate(leaves)])
    xs, starts = random(5, T, D), np.isin(np.arange(T), (8, 30))

    @jax.jit
    def both(core, xs, starts):
        state, _ = core.scan(core.initial_state(), 2 * xs, starts)
        weights = core.attention(state, xs, starts)
        ys = xs
        for i, layer in enumerate(core.layers):
            _, (_, _, v, *_) = layer.meet(state.layers[i], ys, starts)
            ys = layer.feed(ys, jnp.einsum("htk,khd->thd", weights[i], v))
        return weights, ys, core.scan(state, xs, starts)[1]

    weights, ys, expected = both(core, xs, starts)
    np.testing.assert_allclose(ys, expected, atol=2e-5 * np.abs(expected).max())
    t, key = np.arange(T)[:, None], np.arange(M + T) - M
    first = np.where(t < 8, -M, np.where(t < 30, 8, 30))  # of the memory of token t
    visible = (key <= t) & (key >= np.maximum(t - M, first))
    for layer in weights:
        np.testing.assert_allclose(np.sum(layer, -1), 1, rtol=1e-5)
        assert np.array_equal(np.asarray(layer) > 0, np.broadcast_to(visible, layer.shape))
