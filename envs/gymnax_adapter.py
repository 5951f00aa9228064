"""gymnax's built-in environments, with what keeps them from being scanned or trusted put right."""

from typing import Any

import gymnax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray

from rlformers.envs.environment import Wrapper


class GymnaxEnv(Wrapper):
    """A built-in environment of gymnax 1.x by its id.

    * A step keeps the dtypes that the reset gave, and the reward is float32: some built-in ones change them.
    * MemoryChain ends with its own last step only. gymnax's default limit of 1000 steps would cut chains of 999 or more
      before the reward.

    Args:
        env_id: gymnax's name.
        **kwargs: Arguments of the environment's constructor.
    """

    def __init__(self, env_id: str, **kwargs: Any):
        super().__init__(gymnax.make(env_id, **kwargs)[0])
        self._ends_itself = env_id == "MemoryChain-bsuite"

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Start an episode."""
        # Weak types would be strengthened by the first step and break `lax.scan`.
        return jax.tree.map(lambda x: jax.lax.asarray(jnp.asarray(x, jnp.result_type(x))), self.env.reset_env(key, params))

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        obs_like, _ = jax.eval_shape(self.reset_env, key, params)
        obs, new_state, reward, terminated, info = self.env.step_env(key, state, action, params)
        obs, new_state = jax.tree.map(lambda old, new: jnp.asarray(new, old.dtype), (obs_like, state), (obs, new_state))
        return obs, new_state, jnp.asarray(reward, jnp.float32).reshape(()), jnp.asarray(terminated, bool), info

    def is_truncated(self, state: Any, params: Any) -> Bool[Array, ""]:
        """Whether the time limit is reached."""
        return jnp.zeros((), bool) if self._ends_itself else self.env.is_truncated(state, params)

    @property
    def never_truncates(self) -> bool:
        """True for MemoryChain."""
        return self._ends_itself
