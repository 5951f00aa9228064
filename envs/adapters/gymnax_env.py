"""gymnax's built-in environments with outputs that a scan can carry.

Many of them start with Python numbers in their state (weak types) and step into other dtypes, or
declare dtypes or bounds that their observations do not keep. Two end by themselves but are also
truncated by an unrelated default limit, which is lifted here.
"""

from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PRNGKeyArray

from rlformers.envs.adapters.cast import cast, like, strong
from rlformers.envs.adapters.gymnax_catalogue import VELOCITIES
from rlformers.envs.constructor_arguments import check_arguments
from rlformers.envs.environment import UNLIMITED, Environment, Wrapper
from rlformers.envs.spaces import Box, Space, leaves
from rlformers.errors import UserError

# Their chains end by themselves, after `memory_length` + 1 and `chain_length` steps, and pay at the end. gymnax's
# default max_steps_in_episode (1000 and 100) would cut longer chains off before the only reward that counts, without a
# word; ours has no limit, and one that is set truncates.
ENDS_ITSELF = ("MemoryChain-bsuite", "UmbrellaChain-bsuite")

# Entries of observations that leave the bounds of their space: contexts of -1, rewards, times scaled to -1 .. 1.
UNBOUNDED: dict[str, Any] = {
    "MemoryChain-bsuite": slice(2, None),
    "MetaMaze-misc": slice(-2, None),
    "GaussianBandit-misc": np.array([0, 3]),
}


class GymnaxAdapter(Wrapper):
    """Casts observations to the dtypes of their space, states to those of the reset state, rewards to float32.

    Args:
        env: An environment of gymnax.
    """

    def __init__(self, env: Environment):
        super().__init__(env)
        if env.name in VELOCITIES:
            self.velocities = VELOCITIES[env.name]

    def _cast_observation(self, obs: Any, params: Any) -> Any:
        dtypes = [space.dtype for space, _ in leaves(self.env.observation_space(params))]
        values, structure = jax.tree.flatten(obs)
        return jax.tree.unflatten(structure, map(cast, values, dtypes))

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Start an episode."""
        obs, state = self.env.reset_env(key, params)
        return self._cast_observation(obs, params), strong(state)

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        obs, next_state, reward, terminated, info = self.env.step_env(key, state, action, params)
        obs = self._cast_observation(obs, params)
        return obs, like(next_state, state), cast(reward, jnp.float32), cast(terminated, jnp.bool_), strong(info)

    def observation_space(self, params: Any) -> Space:
        """Space of the observations."""
        space = self.env.observation_space(params)
        if self.env.name not in UNBOUNDED:
            return space
        low, high = (
            jnp.broadcast_to(jnp.asarray(bound, space.dtype), space.shape) for bound in (space.low, space.high)
        )
        entries = UNBOUNDED[self.env.name]
        return Box(low.at[entries].set(-jnp.inf), high.at[entries].set(jnp.inf), space.shape, space.dtype)

    def is_truncated(self, state: Any, params: Any) -> Bool[Array, ""]:
        """Whether the time limit is reached."""
        return cast(self.env.is_truncated(state, params), jnp.bool_)

    @property
    def default_params(self) -> Any:
        """gymnax's, without a time limit where episodes end by themselves."""
        params = self.env.default_params
        return params.replace(max_steps_in_episode=UNLIMITED) if self.env.name in ENDS_ITSELF else params


def make_gymnax(env_id: str, **env_kwargs: Any) -> Environment:
    """Build and adapt a built-in environment of gymnax, e.g. `make_gymnax("DeepSea-bsuite", size=10)`.

    Raises:
        UserError: An argument that its constructor does not take, or data that cannot be downloaded
            (MNISTBandit).
    """
    try:
        if env_kwargs:
            check_arguments(type(gymnax.make(env_id)[0]), env_kwargs, "env_kwargs", "this environment has")
        env, _ = gymnax.make(env_id, **env_kwargs)
    except OSError as error:
        raise UserError(f"env: 'gymnax/{env_id}' downloads its data on first use, which failed: {error}") from error
    return GymnaxAdapter(env)
