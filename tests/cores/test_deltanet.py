"""What is particular to DeltaNet: the layer by a naive loop, initialisation, options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import scan

from rlformers import make_core

D, H, K, V, T = 8, 2, 4, 8, 12
STARTS = np.isin(np.arange(T), (5, 9))


def make(**options):
    return make_core("deltanet", D, key=jax.random.key(0), **{"heads": H} | options)


def silu(x):
    return x / (1 + np.exp(-x))


def rms_norm(x, p):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p.scale


def naive(layer, xs):
    """Token by token in float64, with S [v, k] as in the paper."""
    p = layer.core
    ys = []
    for t, x in enumerate(xs):
        if t == 0 or STARTS[t]:
            past, S = [np.zeros(p.W_qkv.weight.shape[1])] * 3, np.zeros((H, V, K))
        c = rms_norm(x, layer.norm)
        past = [*past[-3:], c @ p.W_qkv.weight]
        qkv = silu(sum(w * a for w, a in zip(p.conv.weight, past, strict=True)))
        q, k, v = (a.reshape(H, -1) for a in np.split(qkv, (H * K, 2 * H * K)))
        q, k = (a / np.sqrt((a**2).sum(-1, keepdims=True) + 1e-6) for a in (q, k))
        beta, alpha = 1 / (1 + np.exp(-c @ p.W_beta.weight)), np.ones(H)
        if p.W_alpha is not None:
            alpha = np.exp(-np.exp(p.A_log) * np.log1p(np.exp(c @ p.W_alpha.weight + p.W_alpha.bias)))
        for h in range(H):
            erase = np.eye(K) - beta[h] * np.outer(k[h], k[h])
            S[h] = alpha[h] * S[h] @ erase + beta[h] * np.outer(v[h], k[h])
        o = np.einsum("hvk,hk->hv", S, q) / np.sqrt(K)
        x = x + (rms_norm(o, p.norm).reshape(-1) * silu(c @ p.W_g.weight)) @ p.W_o.weight
        a, b = np.split(rms_norm(x, layer.norm_ffn) @ layer.ffn.W_1.weight + layer.ffn.W_1.bias, 2)
        ys.append(x + (silu(a) * b) @ layer.ffn.W_2.weight + layer.ffn.W_2.bias)
    return np.stack(ys)


@pytest.mark.parametrize("decay", [True, False])
def test_layer(decay):
    layer = make(decay=decay, chunk=5).layers[0]
    xs = jax.random.normal(jax.random.key(2), (T, D))
    _, ys = scan(layer, layer.initial_state(), xs, jnp.asarray(STARTS))
    double = jax.tree.map(lambda a: np.asarray(a, np.float64), layer)
    np.testing.assert_allclose(ys, naive(double, np.asarray(xs, np.float64)), atol=1e-5)


def test_initial_decays_cover_short_and_long_memories():
    mixer = make(heads=256, head_size=1).layers[0].core
    dt, A = jax.nn.softplus(mixer.W_alpha.bias), jnp.exp(mixer.A_log)
    assert 1e-3 <= dt.min() < 2e-3 and 5e-2 < dt.max() <= 0.1
    assert 1 <= A.min() < 2 and 15 < A.max() <= 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 9}, "core.heads: width 8 is not divisible by heads=9"),
        ({"conv_size": 0}, "core.conv_size: need at least 1, got 0"),
        ({"dt_max": 0.0}, "core.dt_min: need 0 < dt_min <= dt_max, got 0.001 and 0.0"),
        ({"ffn_ratio": -1.0}, "core.ffn_ratio: need a positive number, got -1.0"),
        ({"chunk": 0}, "core.chunk: need at least 1, got 0"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError) as error:
        make(**options)
    assert str(error.value) == message
