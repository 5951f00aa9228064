"""Craftax and Craftax-Classic: survive, gather, craft, descend (Matthews et al. 2024), from the package craftax."""

from typing import Any

import jax.numpy as jnp
from craftax.craftax_env import make_craftax_env_from_name

from rlformers.envs.adapters.legacy_gymnax import LegacyGymnax


class Craftax(LegacyGymnax):
    """Craftax by its name.

    Death, and in Craftax victory, terminates an episode; `max_timesteps` steps truncate it. The
    package folds both into one. `info["episode_achievements"]` is the number of achievements
    unlocked so far.

    Args:
        env_id: The package's name, without its "-v1".
    """

    def __init__(self, env_id: str):
        super().__init__(make_craftax_env_from_name(f"{env_id}-v1", auto_reset=False))

    def ends(self, state: Any, done: Any, info: dict[str, Any], params: Any) -> tuple[Any, Any]:
        """The game is over without regard to time; and else the time is."""
        terminated = self.env.is_terminal(state.replace(timestep=jnp.int32(-1)), params)
        return terminated, (state.timestep >= params.max_timesteps) & ~terminated

    def report(self, state: Any) -> dict[str, Any]:
        """How many achievements are unlocked, float32 []."""
        return {"episode_achievements": jnp.sum(state.achievements, dtype=jnp.float32)}
