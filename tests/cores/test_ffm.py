"""FFM: where decays and frequencies start, what a trace keeps, and its options."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.cores.ffm import FFM, Config


def test_slowest_trace_keeps_a_hundredth_of_the_period():
    core = FFM(4, Config(traces=3, contexts=5, max_period=200.0), key=jax.random.key(0))
    np.testing.assert_allclose(jnp.exp(-jnp.abs(core.alpha[-1]) * 200), 0.01, rtol=1e-4)
    np.testing.assert_allclose(2 * np.pi / core.omega[jnp.array([0, -1])], [2, 200], rtol=1e-5)


def test_a_token_turns_and_fades_in_the_traces():
    """The sign of α does not matter: no parameter makes the traces grow."""
    core = FFM(4, Config(traces=3, contexts=2), key=jax.random.key(0))
    alpha, omega = np.array([0.3, -0.3, 1e-3]), np.array([0.7, 0.1])
    core = eqx.tree_at(lambda c: (c.alpha, c.omega), core, (jnp.asarray(alpha, "f"), jnp.asarray(omega, "f")))
    xs = jax.random.normal(jax.random.key(1), (30, 4)).at[1:].set(0.0)
    first, last = (core.scan(core.initial_state(), xs[:n], jnp.zeros(n, bool))[0].S for n in (1, 30))
    np.testing.assert_allclose(last, first * np.exp(29 * (-np.abs(alpha)[:, None] + 1j * omega)), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scan": "cumsum"}, "core.scan: 'cumsum' is none of auto, sequential"),
        ({"traces": 0}, "core.traces: need at least 1, got 0"),
        ({"contexts": 0}, "core.contexts: need at least 1, got 0"),
        ({"max_period": 1.0}, "core.max_period: need at least 2, got 1.0"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)
