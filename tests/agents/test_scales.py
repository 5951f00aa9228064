"""Bounded observations are scaled by their bounds, whatever their type."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.encoder import Encoder
from rlformers.agents.scales import scale_of

INF, MAX = np.inf, float(np.finfo(np.float32).max)
# low, high, dtype: {given: seen}
SCALES = [
    (0, 255, "uint8", {0: 0, 51: 0.2, 255: 1}),
    (0, 255, "float32", {51: 0.2, 255: 1}),
    (0, 8, "uint8", {0: 0, 4: 0.5, 8: 1}),
    (0, 8, "float32", {4: 0.5, 8: 1}),
    (0, 8, "int32", {4: 0.5, 8: 1}),
    (0, 1, "float32", {0.25: 0.25, 1: 1}),
    (-1, 1, "float32", {-0.5: -0.5}),
    (-4, 4, "float32", {-4: -1, 1: 0.25}),
    (-2, 4, "float32", {-2: -0.5, 4: 1}),
    (100, 110, "float32", {100: 0, 105: 0.5, 110: 1}),
    (-110, -100, "float32", {-100: 0, -110: -1}),
    (-128, 127, "int8", {-128: -1, 64: 0.5}),
    (0, INF, "float32", {3: 3}),
    (-INF, INF, "float32", {-3: -3}),
    (-MAX, MAX, "float32", {7: 7}),
    (0, 2**31 - 1, "int32", {7: 7}),
    (-(2**31), 2**31 - 1, "int32", {-7: -7}),
    (0, 2**32 - 1, "uint32", {7: 7}),
    (5, 5, "float32", {5: 0}),
    (0, 0, "float32", {0: 0}),
]


@pytest.mark.parametrize("low, high, dtype, numbers", SCALES)
@pytest.mark.parametrize("shape", [(3,), (6, 6, 2)])
def test_what_is_seen_of_a_number(low, high, dtype, numbers, shape):
    scale = scale_of(jax.ShapeDtypeStruct(shape, dtype), np.full(shape, low), np.full(shape, high))
    for given, seen in numbers.items():
        np.testing.assert_allclose(scale.apply(jnp.full(shape, given, jnp.float32)), np.full(shape, seen), rtol=1e-6)


def test_entries_and_channels_have_scales_of_their_own():
    vector = scale_of(np.zeros(3, np.float32), np.array([-4.8, -INF, 0]), np.array([4.8, INF, 2]))
    np.testing.assert_allclose(vector.apply(jnp.array([2.4, 9.0, 1.0])), [0.5, 9, 0.5], rtol=1e-6)
    high = np.broadcast_to(np.array([10, 5]), (7, 7, 2))
    image = scale_of(np.zeros((7, 7, 2), np.uint8), np.zeros((7, 7, 2)), high)
    np.testing.assert_allclose(image.apply(jnp.full((7, 7, 2), 5.0)), np.broadcast_to([0.5, 1], (7, 7, 2)), rtol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (16, 16, 1)])
def test_symbols_are_the_same_function_as_bytes_integers_and_floats(shape):
    symbols = np.random.default_rng(0).integers(0, 9, shape)
    bounds = np.zeros(shape), np.full(shape, 8)
    encoders = {
        dtype: Encoder(np.zeros(shape, dtype), 8, key=jax.random.key(0), bounds=bounds)
        for dtype in ("uint8", "int32", "float32")
    }
    outputs = [encoder(jnp.asarray(symbols, dtype)) for dtype, encoder in encoders.items()]
    for output in outputs[1:]:
        np.testing.assert_array_equal(outputs[0], output)
    without = Encoder(np.zeros(shape, np.float32), 8, key=jax.random.key(0))
    np.testing.assert_allclose(outputs[0], without(jnp.asarray(symbols / 8, jnp.float32)), rtol=1e-5, atol=1e-6)


def test_bytes_without_bounds_go_to_255():
    encoder = Encoder(jnp.zeros(3, jnp.uint8), 8, key=jax.random.key(0))
    assert encoder.scales[0].unit == (255.0,)
    np.testing.assert_array_equal(
        encoder(jnp.array([0, 51, 255], jnp.uint8)),
        Encoder(jnp.zeros(3), 8, key=jax.random.key(0))(jnp.array([0.0, 51.0, 255.0]) / 255),
    )


def test_scales_are_values():
    """Agents built alike share one compiled program."""
    bounds = np.array([0.0, -2.0]), np.array([8.0, 2.0])
    first, second = (Encoder(jnp.zeros(2), 8, key=jax.random.key(s), bounds=bounds) for s in (0, 1))
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert hash(jax.tree.structure(first)) == hash(jax.tree.structure(second))
