"""The metrics of memories, by hand."""

import jax.numpy as jnp
import pytest

from rlformers.agents.memory_metrics import memory_metrics

STARTS = jnp.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 1]], bool)  # T = 4, B = 3


def test_norms_over_all_floats_and_ages_within_the_rollout():
    memory = {
        "h": jnp.array([[3.0, 0.0], [0.0, 0.0], [-1.0, 0.0]]),
        "z": jnp.array([[4j], [0.6 + 0.8j], [0j]], jnp.complex64),
        "position": jnp.full((3, 1), 1000),
        "nothing": jnp.zeros((3, 0)),
    }
    found = {name: float(value) for name, value in memory_metrics(memory, STARTS).items()}
    assert found == pytest.approx(
        {
            "memory/state_norm": (5 + 1 + 1) / 3,
            "memory/state_max": 4.0,
            "memory/age": (4 + 4 + 1) / 3,
            "memory/starts": 1.0,
        }
    )


def test_no_memory_has_the_norm_0_and_infinities_stay():
    found = memory_metrics((), STARTS)
    assert found["memory/state_norm"] == found["memory/state_max"] == 0.0
    found = memory_metrics(jnp.array([[1.0], [-jnp.inf], [0.0]]), STARTS)
    assert found["memory/state_norm"] == found["memory/state_max"] == jnp.inf
