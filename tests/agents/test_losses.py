"""The terms of the loss, with numbers computed by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized

from rlformers.agents import losses

LN = np.log
ALL_WAYS = chex.variants(with_jit=True, without_jit=True, with_device=True)


class HandNumbers(chex.TestCase):
    """Compiled, op by op, and on arrays that are put on the device first."""

    # ε = 0.2, ε_high = 0.3. The gradient is with respect to the log-ratio.
    @ALL_WAYS
    @parameterized.parameters(
        (1.5, 2.0, 2.6, 0.0),  # a better action, taken much more often: clipped
        (0.5, 2.0, 1.0, 1.0),
        (1.1, 2.0, 2.2, 2.2),
        (1.5, -2.0, -3.0, -3.0),
        (0.5, -2.0, -1.6, 0.0),  # a worse action, taken much less often: clipped
        (0.9, -2.0, -1.8, -1.8),
        (1.25, 0.0, 0.0, 0.0),
    )
    def test_clipped_surrogate(self, ratio, advantage, expected, gradient):
        @self.variant
        def both(log_ratio, advantage):
            return jax.value_and_grad(losses.clipped_surrogate)(log_ratio, advantage, 0.2, 0.3)

        np.testing.assert_allclose(
            both(jnp.float32(LN(ratio)), jnp.float32(advantage)), (expected, gradient), rtol=1e-5
        )

    # ε = 0.2. The gradient is with respect to the value.
    @ALL_WAYS
    @parameterized.parameters(
        (1.5, 1.0, 2.0, 0.32, 0.0),  # moved towards the target by more than ε: no gradient
        (0.5, 1.0, 2.0, 1.125, -1.5),  # moved away from it: the whole gradient
        (1.1, 1.0, 2.0, 0.405, -0.9),
        (0.5, 1.0, 0.0, 0.32, 0.0),
    )
    def test_clipped_squared_error(self, value, old, target, expected, gradient):
        @self.variant
        def both(value, old, target):
            return jax.value_and_grad(losses.clipped_squared_error)(value, old, target, 0.2)

        numbers = map(jnp.float32, (value, old, target))
        np.testing.assert_allclose(both(*numbers), (expected, gradient), rtol=1e-5, atol=1e-7)

    @ALL_WAYS
    @parameterized.parameters((2.0, 1 - LN(2)), (0.5, LN(2) - 0.5), (1.0, 0.0))
    def test_approx_kl(self, ratio, expected):
        kl = self.variant(losses.approx_kl)(jnp.float32(LN(ratio)))
        np.testing.assert_allclose(kl, expected, rtol=1e-5, atol=1e-7)

    @ALL_WAYS
    @parameterized.parameters(
        ([2.0, 4.0, 6.0], 1.0),
        ([5.0, 7.0, 9.0], 1.0),  # a constant has no variance
        ([1.0, 2.0, 3.0], 0.75),
        ([4.0, 4.0, 4.0], 0.0),
        ([-2.0, -4.0, -6.0], -3.0),
    )
    def test_explained_variance(self, values, expected):
        explained = self.variant(losses.explained_variance)(jnp.array(values), jnp.array([2.0, 4.0, 6.0]))
        np.testing.assert_allclose(explained, expected, atol=1e-6)

    @ALL_WAYS
    def test_means_over_what_is_trained_on(self):
        x, trained = jnp.array([[1.0, 100.0], [3.0, 5.0]]), jnp.array([[True, False], [True, True]])
        np.testing.assert_allclose(self.variant(losses.mean)(x, trained), 3.0)
        white = self.variant(losses.whiten)(x, trained)
        np.testing.assert_allclose(white[trained], np.array([-2, 0, 2]) / np.sqrt(8 / 3), rtol=1e-6)
        np.testing.assert_allclose(self.variant(losses.whiten)(x[1]), [-1, 1], rtol=1e-6)


def surrogate(log_ratio, advantage, eps):
    """Value, and gradient with respect to the log-ratio."""
    return jax.value_and_grad(losses.clipped_surrogate)(jnp.float32(log_ratio), jnp.float32(advantage), eps, 0.2)


def test_squared_error_has_a_half():
    np.testing.assert_allclose(losses.squared_error(jnp.array([1.0]), jnp.array([3.0])), [2.0])


def test_clip_fraction_knows_both_bounds():
    log_ratio = jnp.log(jnp.array([0.79, 0.81, 1.0, 1.29, 1.31]))
    np.testing.assert_array_equal(losses.clip_fraction(log_ratio, 0.2, 0.3), [1, 0, 0, 0, 1])


@pytest.mark.parametrize(
    "log_ratio,advantage,expected", [(200.0, 1.0, 1.2), (89.0, 1.0, 1.2), (-200.0, -1.0, -0.8), (-200.0, 1.0, 0.0)]
)
def test_a_clipped_objective_has_a_finite_gradient(log_ratio, advantage, expected):
    value, gradient = surrogate(log_ratio, advantage, 0.2)
    assert float(value) == pytest.approx(expected, abs=1e-6) and float(gradient) == 0


def test_an_epsilon_above_one_does_not_clip_below():
    value, gradient = surrogate(LN(0.01), -1.0, 1.5)
    assert (float(value), float(gradient)) == pytest.approx((-0.01, -0.01))


@pytest.mark.parametrize("function", [losses.clipped_surrogate, losses.clipped_squared_error, losses.squared_error])
def test_shapes_that_would_broadcast_are_refused(function):
    x, y = jnp.zeros((3, 2)), jnp.zeros((3, 1))
    arguments = {losses.clipped_surrogate: (x, y, 0.2, 0.2), losses.clipped_squared_error: (x, x, y, 0.2)}
    with pytest.raises((AssertionError, TypeError)):  # by chex, or by the checker of annotations
        function(*arguments.get(function, (x, y)))
