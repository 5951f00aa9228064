"""minGRU: the whole layer in float64, and its options."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import scan

from rlformers.cores.mingru import Config, make

erf = np.vectorize(math.erf)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def rms_norm(norm, x):
    return x / np.sqrt((x**2).mean() + norm.eps) * np.asarray(norm.scale)


def linear(layer, x):
    return x @ np.asarray(layer.weight) + np.asarray(layer.bias)


def test_layer_in_float64():
    stack = make(Config(expand=3, conv_size=3, ffn_ratio=1.5), 4, 1, jax.random.key(0))
    layer = stack.layers[0]
    conv = layer.core.conv
    xs = np.random.default_rng(0).standard_normal((20, 4))
    starts = np.arange(20) % 7 == 3
    _, ys = scan(stack, stack.initial_state(), jnp.asarray(xs, "f"), jnp.asarray(starts))
    h, past = np.zeros(12), [np.zeros(4)] * 3
    for x, start, y in zip(xs, starts, ys, strict=True):
        h, past = (np.zeros(12), [np.zeros(4)] * 3) if start else (h, past)
        past = [*past[1:], rms_norm(layer.norm, x)]
        u = np.asarray(conv.bias) + sum(p * w for p, w in zip(past, np.asarray(conv.weight), strict=True))
        z, a = np.split(linear(layer.core.W, u), 2)
        h = (1 - sigmoid(z)) * h + sigmoid(z) * np.where(a >= 0, a + 0.5, sigmoid(a))
        x = x + linear(layer.core.W_o, h)
        u = linear(layer.ffn.W_1, rms_norm(layer.norm_ffn, x))
        np.testing.assert_allclose(y, x + linear(layer.ffn.W_2, u * (1 + erf(u / 2**0.5)) / 2), atol=2e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scan": "log"}, "core.scan: 'log' is none of auto, sequential"),
        ({"expand": 0}, "core.expand: need at least 1, got 0"),
        ({"conv_size": 0}, "core.conv_size: need at least 1, got 0"),
        ({"ffn_ratio": 0.0}, "core.ffn_ratio: need a positive number, got 0.0"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)
