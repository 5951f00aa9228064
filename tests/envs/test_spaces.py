"""Spaces flatten to the vectors that they promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.spaces import Box, Dict, Discrete, MultiDiscrete, Space, Tuple, flat_size, flatten, flatten_space

TABLE = {
    "discrete": (Discrete(3), 2, [0, 0, 1]),
    "multidiscrete": (MultiDiscrete((2, 3)), jnp.array([1, 0]), [0, 1, 1, 0, 0]),
    "box": (Box(-1.0, 2.0, (2, 2)), jnp.array([[0.0, 1.0], [2.0, -1.0]]), [0, 1, 2, -1]),
    "scalar": (Box(0, 9, (), jnp.int32), jnp.int32(7), [7]),
    "dict": (Dict({"z": Discrete(2), "a": Box(0.0, 1.0, (1,))}), {"a": jnp.array([0.5]), "z": 1}, [0, 1, 0.5]),
    "tuple": (Tuple((Discrete(2), Tuple((Discrete(2),)))), (1, (0,)), [0, 1, 1, 0]),
}


@pytest.mark.parametrize("name", TABLE)
def test_flatten(name):
    space, value, vector = TABLE[name]
    flat = jax.jit(lambda value: flatten(space, value))(value)
    assert flat.dtype == jnp.float32 and flat.shape == (flat_size(space),) == flatten_space(space).shape
    np.testing.assert_array_equal(flat, vector)
    assert flatten_space(space).contains(flat)
    assert not flatten_space(space).contains(flat + 100)


def test_multidiscrete():
    space = MultiDiscrete([2, 5])
    samples = jax.vmap(space.sample)(jax.random.split(jax.random.key(0), 200))
    assert samples.dtype == jnp.int32 and jax.vmap(space.contains)(samples).all()
    assert set(np.unique(samples[:, 0])) == {0, 1} and set(np.unique(samples[:, 1])) == set(range(5))
    assert not space.contains(jnp.array([2, 0])) and not space.contains(jnp.array([0, -1]))
    assert repr(space) == "MultiDiscrete((2, 5), dtype=int32)"
    with pytest.raises(ValueError, match="at least 1"):
        MultiDiscrete((3, 0))


def test_unknown_spaces_are_named():
    with pytest.raises(TypeError, match="none of Box"):
        flat_size(Space())
