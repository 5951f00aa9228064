"""Every action is inside its space, whatever the policy says; and where in it, in hand numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.policies import GaussianPolicy, make_policy
from rlformers.envs.spaces import Box

INF, MAX = np.inf, float(np.finfo(np.float32).max)
INT = np.iinfo(np.int32)
RAW = [0, 1, -1, 5, -5, 1e6, -1e6, 0.3, -0.9, 1 + 1e-7, INF, -INF]
# low, high, dtype: {raw: action}
BOXES = [
    (-2, 10, "float32", {-5: -2, -1: -2, -0.5: 1, 0: 4, 0.5: 7, 1: 10, 5: 10}),
    (0, INF, "float32", {-5: 0, -1: 0, -0.5: 0.5, 0: 1, 5: 6, 1e6: 1000001}),
    (-INF, 3, "float32", {-5: -3, 0: 2, 0.5: 2.5, 1: 3, 5: 3}),
    (-INF, INF, "float32", {-5: -5, 0.25: 0.25, 1e6: 1e6}),
    (0, MAX, "float32", {-5: 0, 0: 1, 5: 6}),
    (-MAX, 3, "float32", {-5: -3, 0: 2, 5: 3}),
    (-MAX, MAX, "float32", {-5: -5, 1: 1, 1e6: 1e6}),
    (-1e300, 1e300, "float64", {-5: -5, INF: MAX}),  # what float32 can hold of it
    (-9e29, 9e29, "float32", {0: 0, 0.5: 4.5e29, 5: 9e29}),
    (-0.1, 0.1, "float32", {-1: -0.1, 0: 0, 1: 0.1}),
    (3e7, INF, "float32", {-1: 3e7, -2: 3e7}),
    (2, 2, "float32", {-5: 2, 0: 2, 5: 2}),
    (0.1, 0.1, "float32", {5: np.float32(0.1)}),
    (0, 255, "uint8", {-1: 0, 0.5: 191, 1: 255, 9: 255}),
    (-3, 4, "int32", {-5: -3, -0.9: -3, 0: 0, 0.5: 2, 1: 4, 5: 4}),
    (0.3, 2.7, "int32", {-5: 1, 0: 2, 5: 2}),
    (0, INF, "int32", {-7: 0, 2.4: 3, 2.6: 4, 1e6: 1000001, INF: 2**31 - 128}),
    (-INF, INF, "int32", {-5: -5, 1.4: 1, INF: 2**31 - 128, -INF: INT.min}),  # what float32 has of the type
    (-(2.0**63), 2.0**63, "int64", {-5: INT.min, 5: INT.max}),  # int32 in JAX
    (2**24 + 1, 2**24 + 3, "int32", {-1: 2**24 + 1, 1: 2**24 + 3}),  # which float32 lacks
    (0, 2**32 - 1, "uint32", {-1: 0, 1: 2**32 - 1, 5: 2**32 - 1}),
    (0, 1, "bool", {-1: False, -0.9: False, 0.9: True, 5: True}),
]


@pytest.mark.parametrize("low,high,dtype,numbers", BOXES)
def test_actions_are_inside_their_box(low, high, dtype, numbers):
    raw = np.array([*numbers, *RAW], np.float32)
    policy = GaussianPolicy(low, high, (1,), False, dtype)
    actions = np.asarray(policy.to_env(jnp.asarray(raw)[:, None]))[:, 0]
    assert actions.dtype == {"float64": np.float32, "int64": np.int32}.get(dtype, np.dtype(dtype))
    exact = actions.astype(np.float64)
    if low < high:  # in float64, not as the space's float32 rounds its bounds
        assert (exact >= low).all() and (exact <= high).all()
    rtol = 0 if dtype != "float32" else 1e-6
    np.testing.assert_allclose(exact[: len(numbers)], np.array([*numbers.values()], np.float64), rtol=rtol)
    assert (np.diff(exact[np.argsort(raw)]) >= 0).all()  # and none overflows on the way


def test_raw_ones_are_the_bounds_exactly():
    low, high = np.random.default_rng(0).normal(size=(2, 200)).astype(np.float32)
    low, high = np.minimum(low, high), np.maximum(low, high)
    policy = GaussianPolicy(low, high, (200,), squash=False)
    np.testing.assert_array_equal(policy.to_env(-jnp.ones(200)), low)
    np.testing.assert_array_equal(policy.to_env(jnp.ones(200)), high)


def test_entries_have_bounds_of_their_own():
    low = jnp.array([[0.0, -jnp.inf, -4.0], [-jnp.inf, 0.0, 1.0]])
    policy = make_policy(Box(low, jnp.array([jnp.inf, 2.0, 4.0]), (2, 3)))
    assert policy.num_outputs == policy.num_scales == 6
    raw = jnp.array([[-3.0, 3.0, 0.5, -3.0, 3.0, 3.0]] * 2)
    np.testing.assert_allclose(policy.to_env(raw), [[[0, 2, 2], [-3, 2, 4]]] * 2)


@pytest.mark.parametrize("dtype,middle", [("float32", 4), ("int32", 4)])
def test_a_tanh_saturates_at_the_bounds(dtype, middle):
    policy = make_policy(Box(-2, 10, (), jnp.dtype(dtype)), "tanh_gaussian")
    actions = policy.to_env(jnp.array([[-1e6], [0], [np.arctanh(0.5)], [5], [1e6]]))
    assert actions.shape == (5,) and actions.dtype == dtype
    np.testing.assert_allclose(
        actions, [-2, middle, 7, 4 + 6 * np.tanh(5) if dtype == "float32" else 10, 10], rtol=1e-6
    )


@pytest.mark.parametrize(
    "low,high,dtype,given",
    [
        (np.nan, 1, "float32", "nan and 1.0"),
        (-1, np.nan, "float32", "-1.0 and nan"),
        (1, -1, "float32", "1.0 and -1.0"),
        (INF, INF, "float32", "inf and inf"),
        (-INF, -INF, "float32", "-inf and -inf"),
        (0.25, 0.75, "int32", "0.25 and 0.75"),
        (256, INF, "uint8", "256.0 and inf"),
    ],
)
def test_bounds_that_allow_no_action(low, high, dtype, given):
    with pytest.raises(ValueError, match=rf"^env: no action of type {dtype} lies between the bounds {given}$"):
        make_policy(Box(jnp.array([0.0, low]), jnp.array([0.0, high]), (2,), jnp.dtype(dtype)))
