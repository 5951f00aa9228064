"""Wrappers: what the agent sees (previous action, start flag, flat vectors), and when and how episodes are counted.

All sit inside the automatic reset of the outermost one (see `environment.Wrapper`), so that the first observation of
an episode never carries anything of the episode before.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs import spaces
from rlformers.envs.environment import Environment, Wrapper, never_truncates

__all__ = ["EpisodeStatistics", "FlattenObservation", "PreviousAction", "StartFlag", "TimeLimit", "never_truncates"]

_start_space = spaces.Box(0.0, 1.0, (), jnp.float32)


def extend(observation: Any, extra: dict[str, Any], pack: Any = dict) -> Any:
    """An observation (or, with `spaces.Dict` as `pack`, its space) as a dict of "observation" and `extra`.

    One that is such a dict already keeps its other entries; a mask of actions stays at the top, where the agent looks
    for it.
    """
    parts = getattr(observation, "spaces", observation)
    if not isinstance(parts, Mapping):
        parts = {"observation": observation}
    elif "observation" not in parts:
        mask = {key: part for key, part in parts.items() if key == "action_mask"}
        rest = {key: part for key, part in parts.items() if key != "action_mask"}
        parts = {"observation": pack(rest), **mask}
    return pack({**parts, **extra})


class StartFlag(Wrapper):
    """Adds "start": float32 [], 1 in the first observation of an episode and 0 in all others, the final one included.

    The observation becomes a dict of "observation" (what it was) and "start".
    """

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Start an episode."""
        obs, state = self.env.reset_env(key, params)
        return extend(obs, {"start": jnp.ones((), jnp.float32)}), state

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        obs, state, reward, terminated, info = self.env.step_env(key, state, action, params)
        return extend(obs, {"start": jnp.zeros((), jnp.float32)}), state, reward, terminated, info

    def observation_space(self, params: Any) -> spaces.Space:
        """Space of the observations."""
        return extend(self.env.observation_space(params), {"start": _start_space}, spaces.Dict)


class PreviousAction(Wrapper):
    """Adds the action that led to the observation, and the start flag that tells the first one apart.

    The observation becomes a dict of "observation" (what it was), "previous_action" (in the action space) and, with
    `start_flag`, "start" (see `StartFlag`). POPGym's convention (popgym 1.0.7, `PreviousAction` then `Antialias`, as in
    the paper's experiments): before the first action stands the null action, 0 or a vector of zeros, or the lowest
    action where a Box does not hold zeros; the flag keeps it apart from a real action 0.
    """

    def __init__(self, env: Environment, start_flag: bool = True):
        super().__init__(env)
        self.start_flag = start_flag

    def _extra(self, action: Any, start: Any) -> dict[str, Any]:
        return {"previous_action": action} | ({"start": start} if self.start_flag else {})

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Start an episode."""
        obs, state = self.env.reset_env(key, params)
        null = null_action(self.env.action_space(params))
        return extend(obs, self._extra(null, jnp.ones((), jnp.float32))), state

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        obs, state, reward, terminated, info = self.env.step_env(key, state, action, params)
        null = null_action(self.env.action_space(params))
        previous = jax.tree.map(lambda null, part: jnp.asarray(part, null.dtype), null, action)
        return extend(obs, self._extra(previous, jnp.zeros((), jnp.float32))), state, reward, terminated, info

    def observation_space(self, params: Any) -> spaces.Space:
        """Space of the observations."""
        extra = self._extra(self.env.action_space(params), _start_space)
        return extend(self.env.observation_space(params), extra, spaces.Dict)


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


class FlattenObservation(Wrapper):
    """Makes observations what the encoders read: one float32 vector, an image [H, W, C], or a dict of named parts.

    Everything is flattened (see `spaces.flatten`; integers become one-hot) into one vector, except a Box of rank 3,
    which is an image, and the top-level key "action_mask" of a Dict. The observation is the vector or the image alone,
    or a dict with those of "vector", "image" and "action_mask" that there are. Vectors pass unchanged.

    Raises:
        ValueError: More than one image.
    """

    def __init__(self, env: Environment):
        super().__init__(env)
        images, _, _ = _sort(env.observation_space(env.default_params))
        if len(images) > 1:
            raise ValueError(f"FlattenObservation: {env.name} has {len(images)} images, at most one is allowed")

    def flatten(self, obs: Any, params: Any) -> Any:
        """What becomes of an observation of the wrapped environment."""
        images, rest, mask = _sort(self.env.observation_space(params), obs)
        vector = [spaces.flatten(space, value) for space, value in rest]
        return _join([value for _, value in images], [jnp.concatenate(vector)] if vector else [], mask)

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Start an episode."""
        obs, state = self.env.reset_env(key, params)
        return self.flatten(obs, params), state

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        obs, state, reward, terminated, info = self.env.step_env(key, state, action, params)
        return self.flatten(obs, params), state, reward, terminated, info

    def observation_space(self, params: Any) -> spaces.Space:
        """Space of the observations."""
        space = self.env.observation_space(params)
        if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.dtype == jnp.float32:
            return space
        images, rest, mask = _sort(space)
        vector = [spaces.flatten_space(spaces.Tuple([leaf for leaf, _ in rest]))] if rest else []
        parts = _join([image for image, _ in images], vector, {key: space.spaces[key] for key in mask})
        return spaces.Dict(parts) if isinstance(parts, dict) else parts


def _sort(space: spaces.Space, value: Any = None) -> tuple[list, list, dict]:
    """Sort the leaves of a space, and of its value, into images, others, and the mask of actions."""
    mask: dict[str, Any] = {}
    if isinstance(space, spaces.Dict) and "action_mask" in space.spaces:
        mask = {"action_mask": None if value is None else value["action_mask"]}
        space = spaces.Dict({key: part for key, part in space.spaces.items() if key != "action_mask"})
    images: list = []
    rest: list = []
    for leaf, part in spaces.leaves(space, value):
        (images if isinstance(leaf, spaces.Box) and len(leaf.shape) == 3 else rest).append((leaf, part))
    return images, rest, mask


def _join(image: list, vector: list, mask: dict[str, Any]) -> Any:
    """The only part there is, or a dict of the parts."""
    if len(image) + len(vector) == 1 and not mask:
        return (image + vector)[0]
    named = {"image": image, "vector": vector}
    return {name: part[0] for name, part in named.items() if part} | mask


class TimeLimitState(NamedTuple):
    """State of `TimeLimit`."""

    env_state: Any
    time: Int32[Array, ""]  # steps made in this episode


class TimeLimit(Wrapper):
    """Truncates an episode after `max_steps` steps, if the environment's own limit does not come first.

    Raises:
        ValueError: `max_steps` below 1.
    """

    def __init__(self, env: Environment, max_steps: int):
        super().__init__(env)
        if max_steps < 1:
            raise ValueError(f"TimeLimit: max_steps must be at least 1, got {max_steps}")
        self.max_steps = max_steps

    def inner_state(self, state: Any) -> Any:
        """The state of the wrapped environment."""
        return state.env_state

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Start an episode."""
        obs, env_state = self.env.reset_env(key, params)
        return obs, TimeLimitState(env_state, jnp.zeros((), jnp.int32))

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        obs, env_state, reward, terminated, info = self.env.step_env(key, state.env_state, action, params)
        return obs, TimeLimitState(env_state, state.time + 1), reward, terminated, info

    def is_truncated(self, state: Any, params: Any) -> Bool[Array, ""]:
        """Whether this limit or the environment's own is reached."""
        return (state.time >= self.max_steps) | self.env.is_truncated(state.env_state, params)

    @property
    def never_truncates(self) -> bool:
        """False."""
        return False


class EpisodeStatisticsState(NamedTuple):
    """State of `EpisodeStatistics`."""

    env_state: Any
    episode_return: Float32[Array, ""]
    episode_length: Int32[Array, ""]


class EpisodeStatistics(Wrapper):
    """Adds to `info` the totals of the running episode, this step included.

    `info["episode_return"]` (float32, undiscounted) and `info["episode_length"]` (int32) are those of the whole episode
    at steps where it terminated or was truncated.
    """

    def inner_state(self, state: Any) -> Any:
        """The state of the wrapped environment."""
        return state.env_state

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Start an episode."""
        obs, env_state = self.env.reset_env(key, params)
        return obs, EpisodeStatisticsState(env_state, jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32))

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        obs, env_state, reward, terminated, info = self.env.step_env(key, state.env_state, action, params)
        episode_return = state.episode_return + jnp.asarray(reward, jnp.float32)
        episode_length = state.episode_length + 1
        info = {**info, "episode_return": episode_return, "episode_length": episode_length}
        return obs, EpisodeStatisticsState(env_state, episode_return, episode_length), reward, terminated, info
