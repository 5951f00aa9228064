"""HL-Gauss against SciPy's normal distribution in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from rlformers.agents.hl_gauss import (
    edges,
    hl_gauss_loss,
    mean_value,
    symexp,
    symlog,
    target_distribution,
    value_of_logits,
)

K, LIMIT = 5, float(np.expm1(2.5))  # bins of width 1 between -2.5 and 2.5 in symlog


def test_symlog_and_its_inverse():
    v = jnp.array([-1000.0, -1.0, 0.0, 1e-3, np.e - 1])
    np.testing.assert_allclose(symlog(v), [-np.log(1001), -np.log(2), 0, np.log(1.001), 1], rtol=1e-5)
    np.testing.assert_allclose(symexp(symlog(v)), v, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(jax.grad(symexp))(jnp.array([-1.0, 0.0, 2.0])), np.exp([1, 0, 2]), rtol=1e-6)


def expected_distribution(symlog_target):
    cdf = stats.norm.cdf(np.arange(-2.5, 3), symlog_target, 0.75)
    return np.diff(cdf) / (cdf[-1] - cdf[0])


def test_targets_are_gaussians_over_the_bins():
    np.testing.assert_allclose(edges(K, LIMIT), np.arange(-2.5, 3))
    where = np.array([[0.25, -1.7, 2.5], [2.2, 0.0, -2.5]])
    found = target_distribution(symexp(jnp.asarray(where, jnp.float32)), K, LIMIT)
    assert found.shape == (2, 3, K)
    for i in np.ndindex(2, 3):
        np.testing.assert_allclose(found[i], expected_distribution(where[i]), atol=1e-6)


def test_the_value_is_the_symexp_of_the_mean_bin():
    found = mean_value(jnp.array([[0, 0, 0, 1, 0], [0.5, 0.5, 0, 0, 0], [0.2] * 5]), LIMIT)
    np.testing.assert_allclose(found, [np.expm1(1), -np.expm1(1.5), 0], atol=1e-6)
    logits = jnp.log(jnp.array([0.1, 0.2, 0.3, 0.2, 0.2])) + 7
    assert float(value_of_logits(logits, LIMIT)) == pytest.approx(np.expm1(0.2), rel=1e-5)
    assert float(value_of_logits(jnp.zeros(101), 1000.0)) == pytest.approx(0, abs=1e-5)


def test_the_loss_is_the_cross_entropy():
    logits, where = jnp.array([[1.0, 0, -1, 2, 0.5]] * 2), np.array([0.3, -2.0])
    target = symexp(jnp.asarray(where, jnp.float32))
    p = np.stack([expected_distribution(x) for x in where])
    found = hl_gauss_loss(logits, target, LIMIT)
    np.testing.assert_allclose(found, -(p * special.log_softmax(np.asarray(logits, float), -1)).sum(-1), rtol=1e-5)
    gradient = jax.grad(lambda logits: hl_gauss_loss(logits, target, LIMIT).sum())(logits)
    np.testing.assert_allclose(gradient, special.softmax(logits, -1) - p, atol=1e-6)


def test_the_value_of_a_targets_distribution_is_the_target():
    """Measured: to 5e-4 of 1 + |v|, but within 3 σ of the outer edges, by up to 9 % nearer to 0."""
    v = jnp.concatenate([jnp.linspace(-1000, 1000, 2001), jnp.linspace(-1, 1, 201)])
    p = target_distribution(v, 101, 1000.0)
    assert float(p.min()) >= 0
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-6)
    found = mean_value(p, 1000.0)
    inside = np.abs(v) <= 730  # 3 σ from the edges
    np.testing.assert_array_less(np.abs(found - v)[inside], 6e-4 * (1 + np.abs(v))[inside])
    np.testing.assert_array_less(np.abs(found - v), 0.1 * (1 + np.abs(v)))
    assert (np.diff(found[:2001]) > 0).all()


def test_targets_outside_of_the_bins_count_as_the_limit():
    logits = jnp.linspace(-1, 1, 11)
    for target, limit in ((1e6, 10.0), (-1e30, -10.0)):
        found, gradients = jax.value_and_grad(hl_gauss_loss, (0, 1))(logits, jnp.float32(target), 10.0)
        np.testing.assert_allclose(found, hl_gauss_loss(logits, jnp.float32(limit), 10.0))
        assert np.isfinite(gradients[0]).all() and gradients[1] == 0
