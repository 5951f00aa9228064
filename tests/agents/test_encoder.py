"""The encoder against NumPy, with its depths and activations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from rlformers import config
from rlformers.agents.activations import ACTIVATIONS
from rlformers.agents.encoder import Encoder
from rlformers.cores.layers import orthogonal

KEY = jax.random.key(0)
FORMULAS = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "tanh": np.tanh,
    "gelu": lambda x: x * special.ndtr(x),
    "silu": lambda x: x * special.expit(x),
}


@pytest.mark.parametrize("name", config.ACTIVATIONS)
def test_activations(name):
    x = np.linspace(-4, 4, 17)
    np.testing.assert_allclose(ACTIVATIONS[name](jnp.asarray(x, jnp.float32)), FORMULAS[name](x), atol=1e-6)


def affine(layer, x):
    return x @ np.asarray(layer.weight, float) + np.asarray(layer.bias, float)


def convolve(conv, x):
    """3x3, stride 2, zeros around: equally many cells on both sides, and the odd one at the end."""
    weight = np.asarray(conv.weight, float)
    height, wide = (-(-n // 2) for n in x.shape[:2])
    before = [max((m - 1) * 2 + 3 - n, 0) // 2 for m, n in zip((height, wide), x.shape, strict=False)]
    padded = np.zeros((2 * height + 2, 2 * wide + 2, x.shape[2]))
    padded[before[0] : before[0] + x.shape[0], before[1] : before[1] + x.shape[1]] = x
    cells = [[padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] for j in range(wide)] for i in range(height)]
    return np.array([[np.tensordot(cell, weight, 3) for cell in row] for row in cells]) + np.asarray(conv.bias, float)


def with_biases(module):
    """Biases are 0 at first, which hides them."""
    leaves, tree = jax.tree.flatten(module)
    return jax.tree.unflatten(
        tree, [x + 0.1 * jnp.arange(x.size).reshape(x.shape) if x.ndim == 1 else x for x in leaves]
    )


@pytest.mark.parametrize("num_layers,activation", [(1, "relu"), (3, "tanh")])
def test_vectors_and_images(num_layers, activation):
    f = FORMULAS[activation]
    key_vector, key_image = jax.random.split(KEY)
    obs = {
        "image": jax.random.randint(key_image, (2, 11, 6, 3), 0, 255).astype(jnp.uint8),
        "vector": jax.random.normal(key_vector, (2, 4)),
    }
    one = jax.tree.map(lambda x: x[0], obs)
    encoder = with_biases(Encoder(one, 8, key=KEY, num_layers=num_layers, activation=activation))
    found = encoder(obs, num_leading=1)
    assert len(encoder.convs[0]) == 2  # 11 x 6, 6 x 3, 3 x 2
    for t in range(2):
        image = np.asarray(obs["image"][t]) / 255
        for conv in encoder.convs[0]:
            image = f(convolve(conv, image))
        x = np.concatenate([image.ravel(), np.asarray(obs["vector"][t], float)])
        for layer in encoder.layers:
            x = f(affine(layer, x))
        np.testing.assert_allclose(found[t], x, atol=1e-5)
    np.testing.assert_allclose(encoder(one), found[0], atol=1e-6)


def test_layers_are_orthogonal_and_not_alike():
    encoder = Encoder(jnp.zeros(8), 8, key=KEY, num_layers=3)
    assert [layer.weight.shape for layer in encoder.layers] == [(8, 8)] * 3
    for layer in encoder.layers:
        np.testing.assert_allclose(layer.weight.T @ layer.weight, 2 * np.eye(8), atol=1e-5)
    first, second, third = (layer.weight for layer in encoder.layers)
    assert not np.allclose(first, second) and not np.allclose(second, third)
    # The first layer does not change with the depth.
    expected = orthogonal(2**0.5)(jax.random.split(KEY)[0], (8, 8))
    np.testing.assert_array_equal(first, expected)


@pytest.mark.parametrize("dtype", [jnp.int32, bool])
def test_vectors_of_whole_numbers_are_taken_as_they_are(dtype):
    encoder = Encoder(jnp.zeros(3, dtype), 4, key=KEY)
    np.testing.assert_array_equal(encoder(jnp.array([1, 0, 1], dtype)), encoder(jnp.array([1.0, 0, 1])))


@pytest.mark.parametrize(
    "obs,complaint",
    [(jnp.zeros((3, 3)), r"vectors or images, got .* \(3, 3\)"), ({}, "no entries"), ([], "no entries")],
)
def test_what_it_cannot_read(obs, complaint):
    with pytest.raises(ValueError, match=f"^env: .*{complaint}"):
        Encoder(obs, 16, key=KEY)


def test_every_convolution_has_weights_of_its_own():
    picture = jnp.zeros((20, 20, 16), jnp.uint8)
    first, second = Encoder({"a": picture, "b": picture}, 8, key=jax.random.key(0)).convs
    assert len(first) == len(second) == 2
    assert not np.allclose(first[0].weight, second[0].weight)
    assert not np.allclose(first[0].weight, first[1].weight[..., :16])
