"""MiniGrid in JAX, from the package navix (Pignatelli et al. 2024)."""

from typing import Any

import jax.numpy as jnp
import navix
from jaxtyping import Array, Int32, PRNGKeyArray, UInt8
from navix.rendering.cache import RenderingCache

from rlformers.envs.adapters.dm_time_step import Step, TimeStepEnvironment
from rlformers.envs.environment import need_at_least
from rlformers.envs.spaces import Dict, Discrete, MultiDiscrete
from rlformers.errors import UserError

OBSERVATIONS = ("symbolic_first_person", "symbolic")

# Numbers that the layers of a cell can have: what is there, its colour, its state (a door's, or the agent's direction).
LAYERS = {"tags": 11, "colors": 6, "states": 4}


class Navix(TimeStepEnvironment):
    """An environment of navix by its id.

    Actions: turn left, turn right, forward, pick up, drop, toggle, done. The package's step type
    says what ended an episode: 1 is the limit of steps, a truncation, and 2 a termination, which
    wins if both happen.

    Args:
        env_id: As the package registers it, without its "Navix-".
        max_steps: Of an episode; default: that of `navix.make`.
        observation: "symbolic_first_person", the 7 x 7 cells before the agent (it looks through
            walls, and does not see what it carries), or "symbolic", the package's default, the
            whole grid.

    Raises:
        UserError: `max_steps` below 1, or an unknown observation.
    """

    def __init__(self, env_id: str, max_steps: int = 100, observation: str = "symbolic_first_person"):
        need_at_least("env_kwargs.max_steps", max_steps, 1)
        if observation not in OBSERVATIONS:
            allowed = ", ".join(OBSERVATIONS)
            raise UserError(f"env_kwargs.observation: need one of {allowed}, got {observation!r}")
        function = getattr(navix.observations, observation)
        self.env = navix.make(f"Navix-{env_id}", max_steps=max_steps, observation_fn=function)

    def first(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """First observation of an episode, and the package's state with the number of steps made."""
        # Symbols need no sprites: without this, every reset draws the grid and every state carries the picture.
        nothing = RenderingCache(patches=jnp.zeros(0, jnp.uint8))
        step = self.env.reset(key, nothing)
        return _layers(step.observation), (step.state, step.t)

    def next(self, key: PRNGKeyArray, inner: Any, action: Any, params: Any) -> Step:
        """A step without reset, which `step` of the package would make at the next step after an end."""
        state, time = inner
        zero = jnp.zeros((), jnp.int32)
        before = navix.Timestep(time, None, zero, jnp.zeros(()), zero, state)
        step = self.env._step(before, action)
        inner = step.state, step.t
        return Step(_layers(step.observation), inner, step.reward, step.is_termination(), step.is_truncation())

    def action_space(self, params: Any = None) -> Discrete:
        """Turn left, turn right, forward, pick up, drop, toggle, done."""
        return Discrete(len(self.env.action_set))

    def observation_space(self, params: Any) -> Dict:
        """The three layers, row by row."""
        height, width, _ = self.env.observation_space.shape
        return Dict({name: MultiDiscrete([most] * (height * width)) for name, most in LAYERS.items()})

    @property
    def name(self) -> str:
        """Name of the environment."""
        return type(self.env).__name__


def _layers(view: UInt8[Array, "H W 3"]) -> dict[str, Int32[Array, " n"]]:
    layers = jnp.moveaxis(view.astype(jnp.int32), -1, 0).reshape(len(LAYERS), -1)
    return dict(zip(LAYERS, layers, strict=True))
