"""What is particular to the LMU: its windows, its matrices and its initial parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers import make_core
from rlformers.cores.hippo import delay_decoder, delay_memory
from rlformers.cores.linear_scan import matrix_scan
from rlformers.cores.lmu import Config


def layer(**options):
    return make_core("lmu", 64, key=jax.random.key(0), **options).layers[0]


def test_memory_tells_the_inputs_of_its_windows():
    thetas, order = (64.0, 25.0), 12
    A, B = delay_memory(order, thetas)
    t = np.arange(300.0)
    inputs = np.sin(t / 9) + 0.5 * np.cos(t / 14)
    m = np.zeros((2, order))
    for u in inputs:
        m = np.einsum("cij,cj->ci", A, m) + B * u
    r = np.linspace(0, 1, 9)
    # The hold makes u_t the input of the whole time from t - 1 to t: on average half a token late.
    past = [np.interp(t[-1] + 0.5 - r * theta, t, inputs) for theta in thetas]
    np.testing.assert_allclose(m @ delay_decoder(order, r), past, atol=0.03)


@pytest.mark.parametrize("order", [8, 32, 256])
def test_powers_stay_small(order):
    A, _ = delay_memory(order, (float(2 * order),))
    power = A[0]
    for _ in range(12):
        assert np.linalg.norm(power, 2) < 4
        power = power @ power
    assert np.linalg.norm(power, 2) < 1e-6


@pytest.mark.parametrize(("method", "largest"), [("doubling", 512), ("chunked", 16)])
def test_powers_are_those_of_float64(method, largest):
    """What an impulse in each coefficient has become after 2^l tokens is one product with the power of the matrix."""
    (A,), _ = delay_memory(32, (1000.0,))
    impulses = np.zeros((largest + 1, 32, 32), np.float32)
    impulses[0] = np.eye(32)
    starts = np.zeros(largest + 1, bool)
    _, hs = jax.jit(lambda *tokens: matrix_scan(A, *tokens, method))(impulses, starts, np.zeros((32, 32), np.float32))
    power = np.linalg.matrix_power(A, largest).T
    np.testing.assert_allclose(hs[largest], power, rtol=0, atol=1e-7 * np.abs(power).max())


def test_windows_are_log_spaced():
    np.testing.assert_allclose(Config(channels=3, theta_min=8.0, theta_max=32.0).thetas, (32, 16, 8))
    assert Config(theta_min=8.0, theta_max=32.0, cell="voelker").thetas == (32.0,)
    assert len(Config().thetas) == 8
    assert Config(channels=2, theta_min=9.0, theta_max=9.0).thetas == (9.0, 9.0)


def test_learned_windows_start_where_the_constant_ones_are():
    for learned, constant in zip(
        layer(cell="keras", learn_theta=True).memory(), layer(cell="keras").memory(), strict=True
    ):
        np.testing.assert_allclose(learned, constant, atol=2e-6)


def test_initial_parameters_of_the_recurrent_cells():
    for cell, biases in (("voelker", False), ("keras", True)):
        core = layer(cell=cell, channels=0)
        assert (core.e_x.bias is not None) == (core.W_x.bias is not None) == biases
        assert not core.e_m.any()
        for matrix in (core.e_x.weight, core.e_h):
            assert 0.8 * (3 / 64) ** 0.5 < jnp.abs(matrix).max() <= (3 / 64) ** 0.5
        for matrix in (core.W_x.weight, core.W_h, core.W_m):
            np.testing.assert_allclose(matrix.std(), (2 / sum(matrix.shape)) ** 0.5, rtol=0.06)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "gru"}, "core.cell: 'gru' is none of parallel, voelker, keras"),
        ({"scan": "fft"}, "core.scan: 'fft' is none of"),
        ({"input_activation": "sin"}, "core.input_activation: 'sin' is none of"),
        ({"order": 0}, "core.order: need at least 1, got 0"),
        ({"channels": -1}, "core.channels: need at least 0, got -1"),
        ({"theta_min": 0.5}, "core.theta_min: need 1 <= theta_min <= theta_max, got 0.5"),
        ({"theta_min": 200.0}, "core.theta_min: need 1 <= theta_min <= theta_max, got 200.0"),
        ({"cell": "voelker", "channels": 2}, "core.channels: need 1 with core.cell=voelker, got 2"),
        ({"learn_theta": True}, "core.learn_theta: core.cell=parallel has constant windows"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message) as error:
        Config(**options)
    assert "\n" not in str(error.value)
