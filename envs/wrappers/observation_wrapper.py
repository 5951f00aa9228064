"""The base of the wrappers that change what an environment shows."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray

from rlformers.envs import spaces
from rlformers.envs.environment import Wrapper
from rlformers.envs.wrappers.agent_inputs import extend, is_packed

__all__ = ["Observer", "ObserverState", "Shown", "take"]


class ObserverState(NamedTuple):
    """State of an `Observer`."""

    env_state: Any
    memory: Any  # what is kept of earlier observations


class Shown(NamedTuple):
    """What the agent sees, what the wrapper keeps, and whether the observation is whole and of this step."""

    observation: Any
    memory: Any = ()
    seen: Bool[Array, ""] | None = None


class Observer(Wrapper):
    """Base of the wrappers that change observations: `first` at a reset, `next` after a step.

    With `flag`, the observation becomes a dict of "observation" and "seen": float32 [], 1 if the observation is whole
    and of this step, 0 if it is blank or old, for all flags of nested wrappers together.
    """

    random = False  # whether `first` and `next` need a key; if not, episodes are those of the wrapped environment
    flag = False
    keeps_observation = True

    @abstractmethod
    def first(self, key: Any, obs: Any, space: spaces.Space) -> Shown:
        """Show the observation of a reset."""

    @abstractmethod
    def next(self, key: Any, memory: Any, obs: Any, space: spaces.Space) -> Shown:
        """Show the observation after a step."""

    def shown_space(self, space: spaces.Space) -> spaces.Space:
        """Space of what is shown, given that of what there is."""
        return space

    def inner_state(self, state: Any) -> Any:
        """The state of the wrapped environment."""
        return state.env_state

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Start an episode."""
        key_env, key_show = jax.random.split(key) if self.random else (key, None)
        obs, env_state = self.env.reset_env(key_env, params)
        packed = is_packed(self.env)
        shown = self.first(key_show, take(obs, packed), take(self.env.observation_space(params), packed))
        return self._put(obs, shown), ObserverState(env_state, shown.memory)

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        key_env, key_show = jax.random.split(key) if self.random else (key, None)
        obs, env_state, reward, terminated, info = self.env.step_env(key_env, state.env_state, action, params)
        packed = is_packed(self.env)
        space = take(self.env.observation_space(params), packed)
        shown = self.next(key_show, state.memory, take(obs, packed), space)
        return self._put(obs, shown), ObserverState(env_state, shown.memory), reward, terminated, info

    def observation_space(self, params: Any) -> spaces.Space:
        """Space of the observations."""
        space = self.env.observation_space(params)
        flag = {"seen": spaces.Box(0.0, 1.0, (), jnp.float32)} if self.flag else {}
        packed = is_packed(self.env)
        return replace(space, {"observation": self.shown_space(take(space, packed)), **flag}, packed)

    @property
    def packs(self) -> bool:
        """Whether there is something beside "observation", see `agent_inputs.is_packed`."""
        return self.flag

    def _put(self, obs: Any, shown: Shown) -> Any:
        packed = is_packed(self.env)
        if not self.flag:
            return replace(obs, {"observation": shown.observation}, packed)
        seen = jnp.asarray(shown.seen, jnp.float32)
        if packed and isinstance(obs, Mapping) and "seen" in obs:
            seen = jnp.minimum(seen, obs["seen"])
        return replace(obs, {"observation": shown.observation, "seen": seen}, packed)


def take(whole: Any, packed: bool) -> Any:
    """The entry "observation" of an observation or of its space, after everything has been put there."""
    named = extend(whole, {}, packed, spaces.Dict if isinstance(whole, spaces.Space) else dict)
    return getattr(named, "spaces", named)["observation"]


def replace(whole: Any, parts: dict[str, Any], packed: bool) -> Any:
    """The reverse of `take`, with flags; without any named parts the observation stays what it is, no dict."""
    given = getattr(whole, "spaces", whole)
    named = isinstance(given, Mapping) and (
        "action_mask" in given or ("observation" in given and (packed or len(given) == 1))
    )
    if list(parts) == ["observation"] and not named:
        return parts["observation"]
    return extend(whole, parts, packed, spaces.Dict if isinstance(whole, spaces.Space) else dict)
