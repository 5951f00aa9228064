"""Spaces of Gymnasium as ours, and which parts of observations are velocities."""

import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.registry import make_env
from rlformers.envs.spaces import Box, Discrete, MultiDiscrete, leaves

gymnasium = pytest.importorskip("gymnasium", reason="pip install 'rlformers[gymnasium]'")

from gymnasium_environments import counters_and_parts  # noqa: E402

from rlformers.envs.adapters.host.environment import GymnasiumHost  # noqa: E402
from rlformers.envs.adapters.host.spaces import convert, decode, encode  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def registered():
    with counters_and_parts():
        yield


THEIRS = gymnasium.spaces.Dict(
    a=gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(3, start=2), gymnasium.spaces.MultiBinary((2, 2))]),
    b=gymnasium.spaces.MultiDiscrete([[2, 3], [4, 5]]),
    c=gymnasium.spaces.Box(-1.5, 2, (2, 3), np.float64),
    d=gymnasium.spaces.Box(0, 255, (3,), np.uint8),
)


def test_spaces():
    ours = convert(THEIRS, "observation")
    kinds = [type(leaf) for leaf, _ in leaves(ours)]
    assert kinds == [Discrete, MultiDiscrete, MultiDiscrete, Box, Box]
    assert ours.spaces["c"].dtype == jnp.float32 and ours.spaces["d"].dtype == jnp.uint8
    THEIRS.seed(0)
    for _ in range(20):
        value = THEIRS.sample()
        parts = [part[0] for part in encode(THEIRS, [value])]
        structure = spaces_of(ours, parts)
        assert all(bool(leaf.contains(part)) for leaf, part in leaves(ours, structure))
        (back,) = decode(THEIRS, [part[None] for part in parts], 1)
        assert back in THEIRS and str(back) == str(value)
    with pytest.raises(ValueError, match="action space has a Text"):
        convert(gymnasium.spaces.Text(5), "action")
    assert convert(gymnasium.spaces.Text(5), "observation").kind == "Text"
    wide = convert(gymnasium.spaces.Box(-(2**62), 2**62, (1,), np.int64), "action")
    assert wide.dtype == jnp.int32 and wide.low[0] == -(2**31)


def spaces_of(space, parts):
    """Parts put into the structure of a space."""
    from rlformers.envs.spaces import map_leaves

    remaining = iter(parts)
    return map_leaves(lambda _leaf, _: jnp.asarray(next(remaining)), space, _same(space))


def _same(space):
    """Something to walk along with a space."""
    from rlformers.envs.wrappers.agent_inputs import null_action

    return null_action(space)


def test_masks():
    assert make_env("gymnasium/CartPole-v1", wrap={"mask": "velocities"})[0].observation_space(None).shape == (2,)
    with pytest.raises(ValueError, match=r"wrap\.mask: the velocities"):
        make_env("gymnasium/rlformers/Counter-v0", wrap={"mask": "velocities"})


@pytest.mark.parametrize(
    "name,kwargs",
    [
        ("Ant-v5", {}),
        ("HalfCheetah-v5", {}),
        ("Hopper-v5", {}),
        ("InvertedPendulum-v5", {}),
        ("Swimmer-v5", {"exclude_current_positions_from_observation": False}),
    ],
)
def test_velocities_of_mujoco_tasks(name, kwargs):
    pytest.importorskip("mujoco", reason="pip install 'gymnasium[mujoco]'")
    env = GymnasiumHost(name, **kwargs)
    theirs = gymnasium.make(name, **kwargs)
    obs, _ = theirs.reset(seed=0)
    np.testing.assert_allclose(obs[list(env.velocities)], theirs.unwrapped.data.qvel)


@pytest.mark.parametrize("name", ["Humanoid-v5", "HumanoidStandup-v5", "Reacher-v5", "InvertedDoublePendulum-v5"])
@pytest.mark.parametrize("mask", ["velocities", "positions"])
def test_velocities_are_not_known_where_others_are_observed_too(name, mask):
    """Humanoids observe those of bodies besides those of joints, and forces."""
    pytest.importorskip("mujoco", reason="pip install 'gymnasium[mujoco]'")
    with pytest.raises(ValueError, match=rf"wrap\.mask: the velocities of gymnasium/{name} are not known"):
        make_env(f"gymnasium/{name}", wrap={"mask": mask})
