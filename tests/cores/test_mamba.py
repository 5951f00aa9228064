"""What is particular to Mamba and Mamba-3: initial time steps, memory of the backward pass, options, special cases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers import make_core
from rlformers.cores import mamba, mamba3
from rlformers.cores.linear_scan import CHUNK
from rlformers.cores.time_steps import time_step_bias


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def test_initial_time_steps_are_log_uniform():
    dt = np.log(jax.nn.softplus(time_step_bias(jax.random.key(0), 4000, 1e-3, 1e-1)))
    assert np.log(1e-3) - 1e-3 < dt.min() and dt.max() < np.log(1e-1) + 1e-3
    np.testing.assert_allclose(np.quantile(dt, [0.25, 0.5, 0.75]), np.log([10**-2.5, 1e-2, 10**-1.5]), atol=0.15)


def test_initial_decays_are_one_to_state_size():
    core = mamba.Mamba(8, mamba.Config(state_size=5), key=jax.random.key(0))
    np.testing.assert_allclose(jnp.exp(core.A_log), np.tile(np.arange(1.0, 6), (16, 1)), rtol=1e-6)


@pytest.mark.parametrize("method", ["sequential", "chunked"])
def test_backward_pass_keeps_no_states_of_all_tokens(method):
    T, E, N = 64 * CHUNK, 32, 16
    tokens = (normal(1, T, E) ** 2, normal(2, T, N), normal(3, T, N), normal(4, T, E))
    A, starts, h = -jnp.exp(normal(0, E, N)), jnp.zeros(T, bool), jnp.zeros((E, N))

    def loss(A, tokens):
        return jnp.sum(mamba.selective_scan(A, *tokens, starts, h, method)[1] ** 2)

    memory = jax.jit(jax.grad(loss, (0, 1))).lower(A, tokens).compile().memory_analysis().temp_size_in_bytes
    assert memory < 4 * T * E * N


def test_a_nan_spoils_its_own_memory_and_no_other():
    for name in ("mamba", "mamba3"):
        core = make_core(name, 8, key=jax.random.key(0), **({"head_size": 4} if name == "mamba3" else {}))
        xs, starts = normal(1, 12, 8), jnp.arange(12) == 8
        run = jax.jit(lambda core, xs, starts: core.scan(core.initial_state(), xs, starts))
        _, good = run(core, xs, starts)
        _, ys = run(core, xs.at[4].set(jnp.nan), starts)
        assert np.isnan(ys[4:8]).all()
        np.testing.assert_array_equal(ys[:4], good[:4])
        np.testing.assert_array_equal(ys[8:], good[8:])


def test_positive_is_smooth_at_0():
    a = jnp.array([-9.0, -1e-3, 0.0, 1e-3, 9.0])
    np.testing.assert_allclose(mamba3.positive(a), [0.1, 1 / 1.001, 1, 1.001, 10], rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(mamba3.positive))(a), [0.01, 1.001**-2, 1, 1, 1], rtol=1e-5)


def test_mamba3_without_turning_and_with_all_weight_on_the_new_input_is_eulers_rule():
    T, H, M, P = 9, 2, 3, 4
    ks, qs = (mamba3.pairs(normal(seed, T, H, 2 * M)) for seed in (0, 1))
    vs, dts, starts = normal(2, T, H, P), normal(3, T, H) ** 2, jnp.arange(T) == 5
    empty = mamba3.Mamba3State(jnp.zeros((H, P, M), ks.dtype), ks[0], vs[0])
    steps = mamba3.discretize(-dts, dts, jnp.full((T, H), 100.0), jnp.zeros((T, H, M)), M)
    state, ys = jax.jit(functools.partial(mamba3.trapezoidal_scan, method="sequential"))(
        steps, ks, qs, vs, starts, empty
    )
    S = np.zeros((H, P, 2 * M))
    for t in range(T):
        k, q = (np.stack([a[t].real, a[t].imag], -1).reshape(H, -1) for a in (ks, qs))
        dt = np.asarray(dts[t])[:, None, None]
        S = S * (0 if starts[t] else np.exp(-dt)) + dt * np.asarray(vs[t])[:, :, None] * k[:, None]
        np.testing.assert_allclose(ys[t], np.einsum("hpn,hn->hp", S, q), atol=1e-5)
    np.testing.assert_array_equal(state.v, vs[-1])


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("mamba", {"state_size": 0}, "core.state_size: need at least 1, got 0"),
        ("mamba", {"conv_size": 0}, "core.conv_size: need at least 1, got 0"),
        ("mamba", {"dt_min": 1.0}, "core.dt_min: need 0 < dt_min <= dt_max, got 1.0 and 0.1"),
        ("mamba", {"scan": "doubling"}, "core.scan: 'doubling' is none of auto, sequential, associative, chunked"),
        ("mamba3", {"state_size": 5}, "core.state_size: need an even number of at least 2, got 5"),
        ("mamba3", {"head_size": 0}, "core.head_size: need at least 1, got 0"),
        ("mamba3", {"head_size": 5}, "core.head_size: 5 does not divide the 16 channels"),
        ("mamba3", {"rotating": 1.5}, "core.rotating: need a fraction between 0 and 1, got 1.5"),
        ("mamba3", {"scan": "fast"}, "core.scan: 'fast' is none of auto, sequential, associative, chunked"),
    ],
)
def test_wrong_options(name, options, message):
    with pytest.raises(ValueError) as error:
        make_core(name, 8, key=jax.random.key(0), **options)
    assert str(error.value) == message
