"""Matrix memories by chunks: against the recurrence in float64, and what a NaN does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.cores.chunked import memory_scan
from rlformers.cores.deltanet import delta_scan
from rlformers.cores.mlstm import Memory, mlstm_scan

T, H, K, V = 23, 2, 3, 4
STARTS = np.isin(np.arange(T), (9, 10, 18))
BAD = 12  # a token of the memory of tokens 10 to 17


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


Q, KEYS, VALUES, S_0 = normal(0, T, H, K), normal(1, T, H, K), normal(2, T, H, V), normal(3, H, K, V)
LOG_DECAYS = -jax.nn.softplus(normal(4, T, H))
BETAS = jax.nn.sigmoid(normal(5, T, H))


@functools.partial(jax.jit, static_argnames="chunk")
def memory(tokens, S, chunk):
    return memory_scan(*tokens, jnp.asarray(STARTS), S, chunk)


@functools.partial(jax.jit, static_argnames="chunk")
def delta(tokens, S, chunk):
    return delta_scan(*tokens, BETAS, jnp.asarray(STARTS), S, chunk)


@functools.partial(jax.jit, static_argnames="chunk")
def mlstm(tokens, S, chunk):
    q, k, v, f = tokens
    state, ys = mlstm_scan(q, k, v, BETAS, f, jnp.asarray(STARTS), Memory(S, S[..., 0], jnp.zeros(H)), chunk)
    return state.C, ys


def naive(delta):
    """S_t [v, k] = a S (I - β k kᵀ) + β v kᵀ, or without erasing a S + v kᵀ; y = S q."""
    S, ys = np.swapaxes(np.asarray(S_0, np.float64), 1, 2), np.empty((T, H, V))
    for t in range(T):
        for h in range(H):
            q, k, v = (np.asarray(a[t, h], np.float64) for a in (Q, KEYS, VALUES))
            before = 0 * S[h] if STARTS[t] else np.exp(float(LOG_DECAYS[t, h])) * S[h]
            beta = float(BETAS[t, h]) if delta else 1.0
            erased = before @ (np.eye(K) - beta * np.outer(k, k)) if delta else before
            S[h] = erased + beta * np.outer(v, k)
            ys[t, h] = S[h] @ q
    return np.swapaxes(S, 1, 2), ys


@pytest.mark.parametrize("chunk", [1, 8, 23, 40])
@pytest.mark.parametrize("scan", [memory, delta])
def test_equals_the_recurrence(scan, chunk):
    for ours, expected in zip(scan((Q, KEYS, VALUES, LOG_DECAYS), S_0, chunk), naive(scan is delta), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("chunk", [5, *(pytest.param(chunk, marks=pytest.mark.slow) for chunk in (1, 40))])
@pytest.mark.parametrize("scan", [memory, delta, mlstm])
@pytest.mark.parametrize("which", ["query", "key", "value", "decay", "state"])
def test_a_nan_spoils_its_own_memory_and_no_other(scan, which, chunk):
    tokens = dict(query=Q, key=KEYS, value=VALUES, decay=LOG_DECAYS)
    good_S, good = scan(tuple(tokens.values()), S_0, chunk)
    if which == "state":
        S, ys = scan(tuple(tokens.values()), jnp.full_like(S_0, jnp.nan), chunk)
        bad = np.arange(T) < 9
    else:
        tokens[which] = tokens[which].at[BAD].set(jnp.nan)
        S, ys = scan(tuple(tokens.values()), S_0, chunk)
        bad = (np.arange(T) >= BAD) & (np.arange(T) < (BAD + 1 if which == "query" else 18))
    assert np.isnan(ys[bad]).all()
    np.testing.assert_array_equal(ys[~bad], good[~bad])
    np.testing.assert_array_equal(S, good_S)
