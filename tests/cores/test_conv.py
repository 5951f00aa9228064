"""Causal convolutions with a buffer, against loops over tokens and taps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.cores.conv import dense_conv, depthwise_conv

C = 3
DENSE, DEPTHWISE = jax.jit(dense_conv), jax.jit(depthwise_conv)


def tokens(T, K, seed=0):
    """A buffer of an unfinished memory, inputs, starts, a kernel over all channels, one per channel, and a bias."""
    rng = np.random.default_rng(seed)
    buffer, xs = rng.standard_normal((K - 1, C)), rng.standard_normal((T, C))
    dense, depthwise, bias = rng.standard_normal((K, C, 2)), rng.standard_normal((K, C)), rng.standard_normal(C)
    return buffer, xs, rng.random(T) < 0.2, dense, depthwise, bias


def loop(buffer, xs, starts, weight, product):
    """A list of the inputs of the present memory."""
    past, ys = list(buffer), []
    K = len(weight)
    for x, start in zip(xs, starts, strict=True):
        past = [np.zeros(C)] * (K - 1) if start else past
        past = [*past, x][-K:]
        ys.append(sum(product(u, w) for u, w in zip(past, weight, strict=True)))
        past = past[1:]
    return np.array(past).reshape(K - 1, C), np.array(ys)


@pytest.mark.parametrize("K", [1, 2, 4])
@pytest.mark.parametrize("T", [1, 2, 3, 12])
def test_equals_the_loop(T, K):
    for seed in range(3):
        buffer, xs, starts, dense, depthwise, bias = tokens(T, K, seed)
        new, ys = DENSE(buffer, xs, starts, dense)
        expected, expected_ys = loop(buffer, xs, starts, dense, np.matmul)
        np.testing.assert_allclose(ys, expected_ys, atol=1e-5)
        np.testing.assert_allclose(new, expected, atol=1e-6)
        new, ys = DEPTHWISE(buffer, xs, starts, depthwise, bias)
        expected, expected_ys = loop(buffer, xs, starts, depthwise, np.multiply)
        np.testing.assert_allclose(ys, expected_ys + bias, atol=1e-5)
        np.testing.assert_allclose(new, expected, atol=1e-6)


@pytest.mark.parametrize("K", [1, 2, 4])
def test_two_segments_chained_equal_one(K):
    T = 12
    buffer, xs, starts, dense, depthwise, bias = tokens(T, K)
    for conv, kernel in ((DENSE, (dense,)), (DEPTHWISE, (depthwise, bias))):
        whole, ys = conv(buffer, xs, starts, *kernel)
        for k in (1, 2, 6, 11):
            middle, ys_1 = conv(buffer, xs[:k], starts[:k], *kernel)
            last, ys_2 = conv(middle, xs[k:], starts[k:], *kernel)
            np.testing.assert_allclose(jnp.concatenate([ys_1, ys_2]), ys, atol=1e-6)
            np.testing.assert_array_equal(last, whole)


def test_nothing_before_a_start_survives():
    T, K = 12, 4
    buffer, xs, starts, dense, depthwise, bias = tokens(T, K)
    for t in (0, 1, 5, T - 1):
        starts[t] = True
        for conv, kernel in ((DENSE, (dense,)), (DEPTHWISE, (depthwise, bias))):
            clean = conv(buffer, xs, starts, *kernel)
            for poison in (np.nan, np.inf):
                poisoned = np.where(np.arange(T)[:, None] < t, poison, xs)
                new, ys = conv(np.full_like(buffer, poison), poisoned, starts, *kernel)
                np.testing.assert_array_equal(new, clean[0])
                np.testing.assert_array_equal(ys[t:], clean[1][t:])
