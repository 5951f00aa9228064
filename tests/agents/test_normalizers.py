"""Running statistics against NumPy over everything seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.normalizers import (
    Moments,
    init_normalizers,
    normalize_observation,
    update_observation,
    update_reward,
)

add = jax.jit(Moments.add)


@pytest.mark.parametrize("mean,std,rtol", [(3.0, 2.0, 1e-5), (-1e4, 3.0, 2e-3), (0.0, 1e-2, 1e-4)])
def test_moments_of_batches_are_those_of_all_samples(mean, std, rtol):
    samples = np.random.default_rng(0).normal(mean, std, size=(60, 4)).astype(np.float32)
    exact = samples.astype(np.float64)
    moments, at_once = Moments.zeros((4,)), add(Moments.zeros((4,)), samples)
    np.testing.assert_array_equal(moments.std(), np.ones(4))
    for part in np.split(samples, [20, 40]):
        moments = add(moments, part)
    for found in (moments, at_once):
        assert found.num == 60
        np.testing.assert_allclose(found.mean, exact.mean(0), atol=1e-6 * (abs(mean) + std))
        np.testing.assert_allclose(found.m2, 60 * exact.var(0), rtol=2 * rtol)
        np.testing.assert_allclose(found.std(), np.sqrt(exact.var(0) + 1e-8), rtol=rtol)


def test_batches_of_other_sizes_count_by_their_sizes():
    moments = Moments.zeros()
    for batch in ([1.0], [4.0, 5.0, 6.0]):
        moments = moments.add(jnp.array(batch))
    assert (float(moments.num), float(moments.mean), float(moments.m2)) == (4, 4, 14)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6, -3e4])
def test_constants_are_zero_until_they_vary(constant):
    """Sums of 200,000 of them are off by far more than their last digit, which must not count as a deviation."""
    moments = {"x": Moments.zeros((1,))}
    obs = {"x": jnp.full((2000, 100, 1), constant, jnp.float32)}
    update, normalize = jax.jit(update_observation), jax.jit(normalize_observation)
    for _ in range(3):
        moments = update(moments, obs)
        assert np.abs(normalize(moments, obs)["x"]).max() <= 1e-3
    assert moments["x"].std() == 1
    scale = max(abs(constant), 1)
    later = constant + scale * np.random.default_rng(0).normal(size=(2000, 100, 1))
    moments = update(moments, {"x": jnp.asarray(later, jnp.float32)})
    std = np.concatenate([np.full(600_000, constant), later.ravel()]).std()
    np.testing.assert_allclose(moments["x"].std(), std, rtol=1e-3)
    seen = normalize(moments, {"x": jnp.array([[[constant + std]], [[constant - 99 * std]]])})["x"].ravel()
    np.testing.assert_allclose(seen, [1, -10], atol=0.02)


@pytest.mark.parametrize(
    "mean,std,expected",
    [(1.0, 2e-5, np.sqrt(4e-10 + 1e-8)), (1.0, 0.9e-5, 1), (-100.0, 0.9e-3, 1), (-100.0, 2e-3, 2e-3), (0.0, 0.0, 1)],
)
def test_a_deviation_is_more_than_float32_makes_of_a_constant(mean, std, expected):
    moments = Moments(jnp.float32(50), jnp.float32(mean), jnp.float32(50 * std**2))
    np.testing.assert_allclose(moments.std(), expected, rtol=2e-3)


def test_the_mean_moves_after_2_to_the_24_samples():
    n = 2.0**24
    moments = Moments(jnp.float32(n), jnp.float32(0), jnp.float32(n))
    moments = jax.jit(lambda m: jax.lax.fori_loop(0, 2000, lambda _, m: m.add(jnp.ones(128)), m))(moments)
    total = n + 2000 * 128
    np.testing.assert_allclose(moments.num, total)
    np.testing.assert_allclose(moments.mean, 2000 * 128 / total, rtol=1e-3)
    # A count that no batch can raise makes a moving average of the mean.
    moments = Moments(jnp.float32(2.0**33), jnp.float32(0), jnp.float32(2.0**33)).add(jnp.ones(128))
    assert moments.num == 2.0**33 and moments.mean == 2.0**-26


def test_half_precision_is_summed_in_single():
    obs = jnp.arange(3000.0).astype(jnp.float16)[:, None, None]
    moments = update_observation(init_normalizers(obs[0, 0], 1).observation, obs)
    assert moments.mean.dtype == moments.m2.dtype == jnp.float32
    exact = np.asarray(obs, np.float64)
    np.testing.assert_allclose([moments.mean[0], moments.std()[0]], [exact.mean(), exact.std()], rtol=1e-5)


def test_only_vectors_of_floats_are_normalised():
    one = {"vector": jnp.zeros(3), "image": jnp.zeros((2, 2, 1)), "scalar": jnp.zeros(())}
    one |= {"bytes": jnp.zeros(3, jnp.uint8), "whole": jnp.zeros(3, jnp.int32), "flags": jnp.zeros(3, bool)}
    batch = jax.tree.map(
        lambda x: (5 + 2 * jax.random.normal(jax.random.key(0), (10, 6, *x.shape))).astype(x.dtype), one
    )
    moments = update_observation(init_normalizers(one, 6).observation, batch)
    assert moments["vector"].num == 60
    seen = normalize_observation(moments, batch)
    exact = np.asarray(batch["vector"], np.float64)
    np.testing.assert_allclose(seen["vector"], (exact - exact.mean((0, 1))) / exact.std((0, 1)), atol=1e-5)
    for name in one.keys() - {"vector"}:
        assert seen[name] is batch[name], name
    far = normalize_observation(moments["vector"], jnp.array([1e3, -1e3, 5.0]))
    assert far[:2].tolist() == [10, -10] and abs(far[2]) < 1
    assert normalize_observation(moments["vector"], jnp.full(3, 1e3), limit=3.0).tolist() == [3] * 3


def test_returns_restart_after_the_last_step_of_an_episode():
    rewards = jnp.array([[1.0], [1.0], [4.0], [1.0]])
    done = jnp.array([[False], [False], [True], [False]])
    normalizers = update_reward(init_normalizers(jnp.zeros(1), 1), rewards, done, 0.5)
    returns = [1.0, 1.5, 4.75, 1.0]
    np.testing.assert_allclose(normalizers.reward.mean, np.mean(returns))
    np.testing.assert_allclose(normalizers.reward.std(), np.std(returns), rtol=1e-5)
    np.testing.assert_allclose(normalizers.discounted_return, [1.0])


@pytest.mark.parametrize("reward,gamma", [(0.0, 0.99), (3.0, 0.0), (1e-3, 0.0), (3.0, 0.99)])
def test_constant_returns_are_not_blown_up(reward, gamma):
    """Episodes of one step that all pay the same: their deviation is 0, and rewards stay what they are."""
    normalizers = init_normalizers(jnp.zeros(1), 2)
    for _ in range(2):
        normalizers = update_reward(normalizers, jnp.full((50, 2), reward), jnp.ones((50, 2), bool), gamma)
    assert normalizers.reward.std() == 1 and normalizers.reward.num == 200


def test_returns_go_on_in_the_next_segment():
    normalizers = init_normalizers(jnp.zeros(1), 2)
    for rewards in ([[1.0, 10.0]], [[2.0, 20.0]]):
        normalizers = update_reward(normalizers, jnp.array(rewards), jnp.array([[False, True]]), 0.5)
    np.testing.assert_allclose(normalizers.discounted_return, [2.5, 0])
    returns = [1, 10, 2.5, 20]
    np.testing.assert_allclose(normalizers.reward.mean, np.mean(returns), rtol=1e-6)
    np.testing.assert_allclose(normalizers.reward.std(), np.std(returns), rtol=1e-5)
