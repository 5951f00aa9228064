"""Running statistics against NumPy over everything seen, learning-rate groups, and the encoder's kinds of input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.encoder import Encoder
from rlformers.agents.normalizers import (
    Moments,
    init_normalizers,
    normalize_observation,
    update_observation,
    update_reward,
)


def test_moments_of_batches_are_those_of_all_samples():
    samples = np.random.default_rng(0).normal(3.0, 2.0, size=(60, 4)).astype(np.float32)
    moments = Moments.zeros((4,))
    np.testing.assert_array_equal(moments.std(), np.ones(4))
    for part in np.split(samples, [7, 20, 21]):
        moments = moments.add(jnp.asarray(part))
    np.testing.assert_allclose(moments.mean, samples.mean(0), rtol=1e-5)
    np.testing.assert_allclose(moments.std(), samples.std(0), rtol=1e-5)


def test_only_vectors_are_normalised():
    one = {"vector": jnp.zeros(3), "image": jnp.zeros((2, 2, 1))}
    batch = jax.tree.map(lambda x: 5 + jax.random.normal(jax.random.key(0), (10, 6, *x.shape)), one)
    moments = update_observation(init_normalizers(one, 6).observation, batch)
    seen = normalize_observation(moments, batch)
    np.testing.assert_allclose(np.asarray(seen["vector"]).mean((0, 1)), 0, atol=1e-5)
    np.testing.assert_array_equal(seen["image"], batch["image"])


def test_returns_restart_after_the_last_step_of_an_episode():
    rewards = jnp.array([[1.0], [1.0], [4.0], [1.0]])
    done = jnp.array([[False], [False], [True], [False]])
    normalizers = update_reward(init_normalizers(jnp.zeros(1), 1), rewards, done, 0.5)
    returns = [1.0, 1.5, 4.75, 1.0]
    np.testing.assert_allclose(normalizers.reward.mean, np.mean(returns))
    np.testing.assert_allclose(normalizers.reward.std(), np.std(returns), rtol=1e-5)
    np.testing.assert_allclose(normalizers.discounted_return, [1.0])


@pytest.mark.parametrize("obs", [jnp.zeros(3), {"vector": jnp.zeros(2), "image": jnp.zeros((10, 9, 4), jnp.uint8)}])
def test_encoder(obs):
    encoder = Encoder(obs, 16, key=jax.random.key(0))
    batch = jax.tree.map(lambda x: jnp.ones((5, *x.shape), x.dtype), obs)
    many = encoder(batch, num_leading=1)
    assert many.shape == (5, 16)
    np.testing.assert_allclose(many[2], encoder(jax.tree.map(lambda x: x[2], batch)), atol=1e-5)


def test_encoder_names_what_it_cannot_read():
    with pytest.raises(ValueError, match="vectors or images"):
        Encoder(jnp.zeros((3, 3)), 16, key=jax.random.key(0))
