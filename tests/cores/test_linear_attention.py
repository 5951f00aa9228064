"""What is particular to linear attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import scan

from rlformers import make_core

XS, STARTS = jax.random.normal(jax.random.key(1), (9, 8)), jnp.zeros(9, bool)


def make(**options):
    return make_core("linear_attention", 8, key=jax.random.key(0), **{"heads": 2} | options)


def last(core, xs):
    return scan(core, core.initial_state(), xs, STARTS)[1][-1]


def test_order_matters_with_a_decay_only():
    order = np.array([3, 1, 0, 2, 7, 6, 5, 4, 8])
    plain = make(decay=False, conv_size=1)
    np.testing.assert_allclose(last(plain, XS[order]), last(plain, XS), atol=1e-5)
    decaying = make(conv_size=1)
    assert np.abs(last(decaying, XS[order]) - last(decaying, XS)).max() > 1e-3


def test_rms_divides_every_head_by_its_root_mean_square():
    core = make(normaliser="rms", conv_size=1).layers[0].core
    q, k, v = (np.asarray(a, np.float64).reshape(9, 2, 4) for a in jnp.split(core.W_qkv(XS), 3, axis=-1))
    decay = np.exp(-np.exp(np.asarray(core.log_rate, np.float64)))
    S, ys = np.zeros((2, 4, 4)), []
    phi = lambda u: np.where(u > 0, u + 1, np.exp(u))  # noqa: E731
    for t in range(9):
        S = decay[:, None, None] * S + phi(k[t])[:, :, None] * v[t][:, None]
        y = np.einsum("hk,hkv->hv", phi(q[t]), S)
        ys.append(y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-5))
    expected = np.reshape(ys, (9, 8)) @ np.asarray(core.W_o.weight)
    np.testing.assert_allclose(scan(core, core.initial_state(), XS, STARTS)[1], expected, atol=1e-5)


def test_initial_decays():
    log_rate = make(heads=3, head_size=2).layers[0].core.log_rate
    np.testing.assert_allclose(np.exp(-np.asarray(log_rate)), (2, 32, 512), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normaliser": "max"}, "core.normaliser: 'max' is none of sum, rms"),
        ({"heads": 0}, "core.heads: need at least 1, got 0"),
        ({"heads": 9}, "core.heads: width 8 is not divisible by heads=9"),
        ({"ffn_ratio": 0.0}, "core.ffn_ratio: need a positive number, got 0.0"),
        ({"chunk": 0}, "core.chunk: need at least 1, got 0"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError) as error:
        make(**options)
    assert str(error.value) == message
