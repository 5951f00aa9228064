"""Masks of actions: which observations have one, and that only the policy sees it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.agents.agent import Agent
from rlformers.agents.masks import without_mask
from rlformers.agents.normalizers import init_normalizers, normalize_observation, update_observation
from rlformers.agents.policies import make_policy
from rlformers.cores.registry import make_core
from rlformers.envs.spaces import Box, Discrete, MultiDiscrete


def make(space, mask):
    obs = {"vector": jax.ShapeDtypeStruct((2,), jnp.float32), "action_mask": mask}
    return jax.eval_shape(
        lambda key: Agent(obs, make_policy(space), lambda k: make_core("mlp", 8, 1, key=k), 8, key=key),
        jax.random.key(0),
    )


@pytest.mark.parametrize(
    "space,shape,dtype,complaint",
    [
        (Discrete(3), (3,), "float32", "the action_mask is float32[3], need bool[3]"),
        (Discrete(3), (3,), "int32", "the action_mask is int32[3], need bool[3]"),
        (Discrete(3), (1,), "bool", "the action_mask is bool[1], need bool[3]"),
        (Discrete(3), (), "bool", "the action_mask is bool[], need bool[3]"),
        (MultiDiscrete((2, 3)), (2, 3), "bool", "the action_mask is bool[2, 3], need bool[5]"),
        (
            Box(-1, 1, (3,)),
            (3,),
            "bool",
            "an action_mask is for discrete actions, and those of this environment are continuous",
        ),
    ],
)
def test_masks_that_do_not_fit(space, shape, dtype, complaint):
    mask = jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))
    with pytest.raises(ValueError) as caught:
        make(space, mask)
    assert str(caught.value) == f"env: {complaint}"


@pytest.mark.parametrize("space,size", [(Discrete(3), 3), (MultiDiscrete((2, 3)), 5)])
def test_the_mask_is_no_observation(space, size):
    agent = make(space, jax.ShapeDtypeStruct((size,), bool))
    assert agent.encoder.layers[0].weight.shape == (2, 8)  # it sees the vector alone
    obs = {"action_mask": jnp.ones(2, bool), "vector": jnp.zeros(3)}
    seen, mask = without_mask(obs)
    assert seen.keys() == {"vector"} and mask is obs["action_mask"]
    for unmasked in (obs["vector"], {"vector": obs["vector"]}):
        seen, mask = without_mask(unmasked)
        assert seen is unmasked and mask is None


@pytest.mark.parametrize("dtype", [bool, jnp.float32])
def test_masks_are_not_normalised(dtype):
    obs = {"action_mask": jnp.array([[[1, 0, 1]], [[1, 1, 0]]], dtype), "vector": jnp.array([[[1.0]], [[3.0]]])}
    moments = init_normalizers(jax.tree.map(lambda x: x[0, 0], obs), 1).observation
    moments = update_observation(moments, obs)
    seen = normalize_observation(moments, obs)
    assert seen["action_mask"] is obs["action_mask"]
    np.testing.assert_allclose(seen["vector"].ravel(), [-1, 1], rtol=1e-6)
