"""Randomly projected cart-pole: identify sensors and motors while balancing (Lu et al. 2023, section 5)."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float32, PRNGKeyArray

from rlformers.envs.environment import Environment, Wrapper
from rlformers.envs.popgym.position_only_cartpole import PositionOnlyCartPole
from rlformers.envs.spaces import Box
from rlformers.envs.wrappers.random_projection import RandomProjection
from rlformers.envs.wrappers.trial import in_trials


class Rescale(Wrapper):
    """Divides the observations of a Box by its upper bounds, so that those of a symmetric one lie in [-1, 1]."""

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Float32[Array, " n"], Any]:
        """Start an episode."""
        obs, state = self.env.reset_env(key, params)
        return obs / self.env.observation_space(params).high, state

    def step_env(
        self, key: PRNGKeyArray, state: Any, action: Any, params: Any
    ) -> tuple[Float32[Array, " n"], Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        obs, state, reward, terminated, info = self.env.step_env(key, state, action, params)
        return obs / self.env.observation_space(params).high, state, reward, terminated, info

    def observation_space(self, params: Any) -> Box:
        """Bounds divided by the upper ones."""
        space = self.env.observation_space(params)
        return Box(space.low / space.high, jnp.ones_like(space.high), space.shape, jnp.float32)


def projected_cartpole(
    max_steps_in_episode: int = 200,
    rescale: bool = True,
    observation_size: int = 4,
    project_actions: bool = True,
    distribution: str = "orthogonal",
    split: str = "all",
) -> Environment:
    """popgym's PositionOnlyCartPole behind a `RandomProjection`, returns in [0, 1] per episode.

    Args:
        max_steps_in_episode: Most steps of an episode.
        rescale: Bring position and angle to the same scale before they are projected. Their bounds, 4.8 m and 0.42 rad,
            differ so much that otherwise every output shows little but the position.
        observation_size: Outputs of the projection, see there, as for the other arguments.
        project_actions: Let left and right change places in half of the tasks.
        distribution: "orthogonal" or "gaussian".
        split: "all": projections have no split, `RandomProjection` says why.

    Raises:
        ValueError: As `RandomProjection` and `PositionOnlyCartPole`.
    """
    env: Environment = PositionOnlyCartPole(max_steps_in_episode)
    return RandomProjection(
        Rescale(env) if rescale else env,
        observation_size=observation_size,
        project_actions=project_actions,
        distribution=distribution,
        split=split,
    )


make_projected_cartpole = in_trials(projected_cartpole)
