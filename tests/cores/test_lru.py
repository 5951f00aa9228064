"""LRU: where its eigenvalues start, the scale of its states, and its options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.cores.lru import LRU, Config


def test_eigenvalues_start_on_the_ring():
    core = LRU(4, Config(4000, r_min=0.6, r_max=0.8, max_phase=1.5), key=jax.random.key(0))
    modulus, phase = np.exp(-np.exp(core.nu_log)), np.exp(core.theta_log)
    assert 0.6 - 1e-5 < modulus.min() < modulus.max() < 0.8 + 1e-5
    # Uniform on the area of the ring: uniform squares of the modulus.
    np.testing.assert_allclose(np.quantile(modulus**2, (0.25, 0.5, 0.75)), (0.43, 0.5, 0.57), atol=0.01)
    np.testing.assert_allclose(np.quantile(phase, (0, 0.5, 1)), (0, 0.75, 1.5), atol=0.05)
    np.testing.assert_allclose(np.exp(core.gamma_log), np.sqrt(1 - modulus**2), rtol=1e-4)


def test_states_have_the_variance_of_the_inputs():
    core = LRU(16, Config(r_max=0.99), key=jax.random.key(0))
    T = 2000
    xs = np.random.default_rng(1).normal(size=(64, T, 16)).astype(np.float32)
    state, _ = jax.jit(jax.vmap(core.scan, (None, 0, None)))(core.initial_state(), xs, np.zeros(T, bool))
    assert 0.9 < float((jnp.abs(state.h) ** 2).mean()) < 1.1


@pytest.mark.parametrize(("r_min", "r_max"), [(0.0, 0.00101), (0.0, 0.999999), (0.999998, 0.999999)])
def test_parameters_are_finite_at_the_limits_of_the_options(r_min, r_max):
    core = LRU(4, Config(2000, r_min=r_min, r_max=r_max), key=jax.random.key(0))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(core))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scan": "fft"}, "core.scan: 'fft' is none of auto, sequential"),
        ({"state_size": 0}, "core.state_size: need at least 1, got 0"),
        ({"r_max": 1.0}, "core.r_max: need more than 0.001 and at most 0.999999, got 1.0"),
        ({"max_phase": 0.0}, "core.max_phase: need a positive number, got 0.0"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)
