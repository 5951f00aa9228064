"""Advantages against a quadratic-time definition in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.gae import gae


def naive(rewards, values, final_values, last_value, terminated, truncated, gamma, lam):
    """A_t = sum over k of (γ λ)^k δ_{t+k}, stopping after the step that ends the episode."""
    T = len(rewards)
    out = np.zeros(T)
    for t in range(T):
        weight = 1.0
        for k in range(t, T):
            following = last_value if k == T - 1 else values[k + 1]
            if truncated[k]:
                following = final_values[k]
            if terminated[k]:
                following = 0.0
            out[t] += weight * (rewards[k] + gamma * following - values[k])
            weight *= gamma * lam
            if terminated[k] or truncated[k]:
                break
    return out


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_definition(seed):
    rng = np.random.default_rng(seed)
    T = int(rng.choice([1, 2, 29]))  # each is compiled once
    rewards, values, final_values = rng.normal(size=(3, T))
    terminated, truncated = rng.random((2, T)) < 0.2
    last_value = rng.normal()
    gamma, lam = rng.random(2)
    expected = naive(rewards, values, final_values, last_value, terminated, truncated, gamma, lam)
    arrays = [jnp.asarray(x, jnp.float32) for x in (rewards, values, final_values, last_value)]
    result = gae(*arrays, jnp.asarray(terminated), jnp.asarray(truncated), float(gamma), float(lam))
    np.testing.assert_allclose(result, expected, atol=2e-5)


@pytest.mark.parametrize("which", range(6))
def test_shapes_that_would_broadcast_are_refused(which):
    arrays = [jnp.zeros((3, 2))] * 3 + [jnp.zeros(2)] + [jnp.zeros((3, 2), bool)] * 2
    arrays[which] = arrays[which][:, :1] if which != 3 else jnp.zeros(1)
    with pytest.raises((AssertionError, TypeError)):  # by chex, or by the checker of annotations
        gae(*arrays, 0.9, 0.9)
