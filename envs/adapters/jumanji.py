"""Games and puzzles of combinatorial kind, from the package jumanji (Bonnet et al. 2024)."""

from typing import Any

import jax
import jax.numpy as jnp
import jumanji
from jaxtyping import Array, PRNGKeyArray
from jumanji import specs

from rlformers.envs.adapters.dm_time_step import Step, TimeStepEnvironment
from rlformers.envs.adapters.jumanji_spaces import Symbol, convert, fields, space_of
from rlformers.envs.spaces import Box, Dict, Discrete, MultiDiscrete, Space
from rlformers.errors import UserError

# Where a spec leaves out a value that its observations have: TSP is at no city, -1, before the first step.
CORRECTED = {"TSP-v1": {"position": Symbol(-1, 21)}}


class Jumanji(TimeStepEnvironment):
    """An environment of jumanji by its id.

    The last step of an episode terminates it with discount 0 and truncates it with discount 1, as
    the package sets it. In version 1.1.2 all ends of the environments in our catalogue, time limits
    included, have discount 0.

    If a mask is about combinations of several choices, such as row and column, they become one
    choice of a combination (in row-major order), because a policy that draws them separately cannot
    keep to the mask.

    Args:
        env_id: As the package registers it.
        **env_kwargs: Of the package's constructor, e.g. `time_limit`.

    Raises:
        UserError: Actions that are no choices, or several rewards.
    """

    def __init__(self, env_id: str, **env_kwargs: Any):
        self.env = jumanji.make(env_id, **env_kwargs)
        actions, reward = self.env.action_spec, self.env.reward_spec
        if not isinstance(actions, specs.DiscreteArray | specs.MultiDiscreteArray) or reward.shape:
            raise UserError(
                f"env: 'jumanji/{env_id}' needs an agent with other actions, or one for each of its rewards"
            )
        _, first = jax.eval_shape(self.env.reset, jax.random.key(0))
        self.seen = space_of(self.env.observation_spec, first.observation)
        self.seen = Dict({**self.seen.spaces, **CORRECTED.get(env_id, {})})
        mask = fields(first.observation).get("action_mask")
        self.choices: tuple[int, ...] = ()
        if isinstance(actions, specs.MultiDiscreteArray):
            self.choices = tuple(int(n) for n in actions.num_values)
        self.joint = bool(self.choices) and mask is not None and mask.shape == self.choices
        self.num_choices = mask.size if mask is not None else None

    def _see(self, observation: Any) -> dict[str, Any]:
        parts = convert(self.seen, observation)
        mask = fields(observation).get("action_mask")
        return parts if mask is None else parts | {"action_mask": mask.ravel().astype(jnp.bool_)}

    def first(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """First observation of an episode, and the package's state."""
        state, step = self.env.reset(key)
        return self._see(step.observation), state

    def next(self, key: PRNGKeyArray, inner: Any, action: Any, params: Any) -> Step:
        """A step without reset."""
        state, step = self.env.step(inner, self._translate(action))
        end, terminated = step.last(), step.discount == 0
        return Step(self._see(step.observation), state, step.reward, end & terminated, end & ~terminated)

    def _translate(self, action: Any) -> Array:
        """The package's action."""
        if self.joint:
            return jnp.stack(jnp.unravel_index(action, self.choices)).astype(jnp.int32)
        return jnp.asarray(action, jnp.int32)

    def action_space(self, params: Any = None) -> Space:
        """One choice, or several."""
        if self.joint:
            return Discrete(self.num_choices)
        return MultiDiscrete(self.choices) if self.choices else Discrete(self.env.action_spec.num_values)

    def observation_space(self, params: Any) -> Dict:
        """The package's parts as `jumanji_spaces.space_of` has them, and "action_mask"."""
        mask = {} if self.num_choices is None else {"action_mask": Box(0, 1, (self.num_choices,), jnp.bool_)}
        return Dict({name: part for name, part in self.seen.spaces.items() if name != "action_mask"} | mask)

    @property
    def name(self) -> str:
        """Name of the environment."""
        return type(self.env).__name__
