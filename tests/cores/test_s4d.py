"""S4D: its initial eigenvalues, its impulse response, and its options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.cores.hippo import hippo_eigenbasis
from rlformers.cores.s4d import S4D, Config, initial_frequencies


def test_initial_frequencies():
    np.testing.assert_allclose(initial_frequencies("lin", 6), [0, np.pi, 2 * np.pi])
    np.testing.assert_allclose(initial_frequencies("inv", 6), np.array([30, 6, 1.2]) / np.pi)
    both = hippo_eigenbasis(6, 1, conj_sym=False)[0].imag  # symmetric about 0
    np.testing.assert_allclose(np.sort(initial_frequencies("legs", 6)), np.sort(both[both > 0]), atol=1e-12)
    # The approximation of LegS that the paper proves: its largest frequency grows as N² / π.
    for init in ("inv", "legs"):
        assert abs(initial_frequencies(init, 64).max() / (64**2 / np.pi) - 1) < 0.05


@pytest.mark.parametrize("dt", [1e-3, 1e-1])
def test_impulse_response_is_the_sampled_kernel(dt):
    """2 Re Σ C B̄ Āᵏ, as the paper computes it for convolutions, here in complex128."""
    core = S4D(3, Config(8, dt_min=dt, dt_max=dt), key=jax.random.key(0))
    T = 50
    xs = jnp.zeros((T, 3)).at[0].set(1.0)
    states = jax.jit(lambda n: core.scan(core.initial_state(), xs[:n], jnp.zeros(n, bool))[0].h, static_argnums=0)
    A = -np.exp(np.float64(core.log_A_real)) + 1j * np.float64(core.A_imag)
    B = np.expm1(A * dt) / A
    for n in (1, 2, T):
        np.testing.assert_allclose(states(n), B * np.exp(A * dt * (n - 1)), rtol=2e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scan": "fft"}, "core.scan: 'fft' is none of auto, sequential"),
        ({"init": "rand"}, "core.init: 'rand' is none of lin, inv, legs"),
        ({"state_size": 7}, "core.state_size: need an even number of at least 2, got 7"),
        ({"dt_min": 1.0}, "core.dt_min: need 0 < dt_min <= dt_max, got 1.0 and 0.1"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)
