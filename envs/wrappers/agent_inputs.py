"""Wrappers that tell the agent of the step before.

All sit inside the automatic reset of the outermost one (see `environment.Wrapper`), so that the first observation of
an episode never carries anything of the episode before.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from rlformers.envs import spaces
from rlformers.envs.environment import Environment, Wrapper, wrappers_around

flag_space = spaces.Box(0.0, 1.0, (), jnp.float32)
reward_space = spaces.Box(-jnp.inf, jnp.inf, (), jnp.float32)


def is_packed(env: Environment) -> bool:
    """Whether a wrapper of ours has put what the environment shows into "observation", to add entries beside it."""
    return any(getattr(wrapper, "packs", False) for wrapper in wrappers_around(env))


def extend(observation: Any, extra: dict[str, Any], packed: bool, pack: Any = dict) -> Any:
    """An observation (or, with `spaces.Dict` as `pack`, its space) as a dict of "observation" and `extra`.

    One that is `packed` already keeps its other entries. A dict of the environment's own goes into "observation" as a
    whole, whatever its names, so that nothing is overwritten; but a mask of actions stays at the top, where the agent
    looks for it.
    """
    parts = getattr(observation, "spaces", observation)
    if not isinstance(parts, Mapping):
        parts = {"observation": observation}
    elif "observation" not in parts or not (packed or set(parts) <= {"observation", "action_mask"}):
        mask = {key: part for key, part in parts.items() if key == "action_mask"}
        rest = {key: part for key, part in parts.items() if key != "action_mask"}
        parts = {"observation": pack(rest), **mask}
    return pack({**parts, **extra})


class Input(Wrapper):
    """Base of the wrappers that show the agent something beside the observation: the step before, or where it stands.

    The observation becomes a dict of "observation" (what it was) and the entries.
    """

    keeps_observation = True
    packs = True

    @abstractmethod
    def first(self, params: Any) -> dict[str, Any]:
        """The entries of the first observation of an episode."""

    @abstractmethod
    def next(self, action: Any, reward: Any, params: Any) -> dict[str, Any]:
        """Those of the observation that this action led to, with this reward."""

    @abstractmethod
    def entry_spaces(self, params: Any) -> dict[str, spaces.Space]:
        """Their spaces."""

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Start an episode."""
        obs, state = self.env.reset_env(key, params)
        return extend(obs, self.first(params), is_packed(self.env)), state

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        obs, state, reward, terminated, info = self.env.step_env(key, state, action, params)
        obs = extend(obs, self.next(action, reward, params), is_packed(self.env))
        return obs, state, reward, terminated, info

    def observation_space(self, params: Any) -> spaces.Space:
        """Space of the observations."""
        space = self.env.observation_space(params)
        return extend(space, self.entry_spaces(params), is_packed(self.env), spaces.Dict)


class EpisodeStart(Input):
    """Adds "start": float32 [], 1 in the first observation of an episode, 0 in all others, the final one included."""

    def first(self, params: Any) -> dict[str, Any]:
        """1."""
        return {"start": jnp.ones((), jnp.float32)}

    def next(self, action: Any, reward: Any, params: Any) -> dict[str, Any]:
        """0."""
        return {"start": jnp.zeros((), jnp.float32)}

    def entry_spaces(self, params: Any) -> dict[str, spaces.Space]:
        """0 to 1."""
        return {"start": flag_space}


class PreviousAction(Input):
    """Adds "previous_action", the action that led to the observation, in its space, and the start flag.

    The flag is "start" of `EpisodeStart`, unless `start_flag` is False. POPGym's convention (popgym 1.0.7,
    `PreviousAction` then `Antialias`, as in the paper's experiments): before the first action stands the null action,
    0 or a vector of zeros, or the lowest action where a Box does not hold zeros; the flag keeps it apart from a real
    action 0.
    """

    def __init__(self, env: Environment, start_flag: bool = True):
        super().__init__(env)
        self.start_flag = start_flag

    def _entries(self, action: Any, start: Any) -> dict[str, Any]:
        return {"previous_action": action} | ({"start": start} if self.start_flag else {})

    def first(self, params: Any) -> dict[str, Any]:
        """The null action, at the start."""
        return self._entries(null_action(self.env.action_space(params)), jnp.ones((), jnp.float32))

    def next(self, action: Any, reward: Any, params: Any) -> dict[str, Any]:
        """The action."""
        return self._entries(seen_action(self.env.action_space(params), action), jnp.zeros((), jnp.float32))

    def entry_spaces(self, params: Any) -> dict[str, spaces.Space]:
        """The space of the actions."""
        return self._entries(self.env.action_space(params), flag_space)


class RewardInput(Input):
    """Adds "previous_reward": float32 [], the reward that came with the observation, and 0 before the first action.

    It is the reward that the wrapped environment pays; what a learner scales or normalises is another copy.
    """

    def first(self, params: Any) -> dict[str, Any]:
        """0."""
        return {"previous_reward": jnp.zeros((), jnp.float32)}

    def next(self, action: Any, reward: Any, params: Any) -> dict[str, Any]:
        """The reward."""
        return {"previous_reward": jnp.asarray(reward, jnp.float32)}

    def entry_spaces(self, params: Any) -> dict[str, spaces.Space]:
        """Any number."""
        return {"previous_reward": reward_space}


def null_action(space: spaces.Space) -> Any:
    """What stands for the action before the first one: zeros, or the lowest where a Box does not hold zeros."""
    if isinstance(space, spaces.Dict):
        return {key: null_action(part) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(null_action(part) for part in space.spaces)
    zeros = jnp.zeros(space.shape, space.dtype)
    if isinstance(space, spaces.Box):
        lowest = jnp.broadcast_to(jnp.asarray(space.low, space.dtype), space.shape)
        return jnp.where(space.contains(zeros), zeros, lowest)
    return zeros


def seen_action(space: spaces.Space, action: Any) -> Any:
    """An action in the types of its space, whatever types it was given in."""
    return jax.tree.map(lambda null, part: jnp.asarray(part, null.dtype), null_action(space), action)
