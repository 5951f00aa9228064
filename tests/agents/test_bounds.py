"""`bounded` is a clip whose gradient leads back inside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.bounds import bounded


@pytest.mark.parametrize(
    "x,value,g_positive,g_negative",  # what is left of the gradients 3 and -3; descent moves x by -g
    [
        (0.5, 0.5, 3, -3),
        (2.0, 2.0, 3, 0),  # at the upper bound only down
        (9.0, 2.0, 3, 0),
        (-1.0, -1.0, 0, -3),  # at the lower one only up
        (-9.0, -1.0, 0, -3),
    ],
)
def test_gradients_pass_inwards(x, value, g_positive, g_negative):
    x = jnp.array([x])
    for g, expected in ((3.0, g_positive), (-3.0, g_negative)):
        y, pull = jax.vjp(lambda x: bounded(x, -1.0, 2.0), x)
        assert y.tolist() == [value] and pull(jnp.array([g]))[0].tolist() == [expected]


def test_nothing_moves_between_equal_bounds():
    for g in (1.0, -1.0):
        assert float(jax.grad(lambda x, g=g: g * bounded(x, 1.0, 1.0))(jnp.float32(1))) == 0


def test_descent_comes_back_and_stays_at_the_bound():
    """Two losses: the minimum of one is inside, that of the other beyond the upper bound."""
    goals = jnp.array([0.0, 5.0])
    slope = jax.jit(jax.vmap(jax.grad(lambda x, goal: jnp.square(bounded(x, -1.0, 2.0) - goal))))
    x = jnp.array([3.0, -4.0])
    for _ in range(60):
        x = x - 0.1 * slope(x, goals)
    np.testing.assert_allclose(bounded(x, -1.0, 2.0), [0.0, 2.0], atol=1e-3)
