"""What is particular to Mamba-2."""

import jax
import jax.numpy as jnp
import pytest

from rlformers import make_core


def test_initial_decays_cover_short_and_long_memories():
    mixer = make_core("mamba2", 512, key=jax.random.key(0), head_size=4).layers[0].core
    dt, A = jax.nn.softplus(mixer.dt_bias), jnp.exp(mixer.A_log)
    assert dt.shape == A.shape == (256,)
    assert 1e-3 <= dt.min() < 2e-3 and 5e-2 < dt.max() <= 0.1
    assert 1 <= A.min() < 2 and 15 < A.max() <= 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 0}, "core.state_size: need at least 1, got 0"),
        ({"chunk": 0}, "core.chunk: need at least 1, got 0"),
        ({"dt_min": 1.0}, "core.dt_min: need 0 < dt_min <= dt_max, got 1.0 and 0.1"),
        ({"head_size": 3}, "core.head_size: 3 does not divide the 16 channels"),
        ({"head_size": 4, "groups": 3}, "core.groups: 3 does not divide the 4 heads"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError) as error:
        make_core("mamba2", 8, key=jax.random.key(0), **options)
    assert str(error.value) == message
