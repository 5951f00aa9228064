"""Wrappers that make observations what the encoders read: one-hot vectors of integers, one vector of everything."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from rlformers.envs import spaces
from rlformers.envs.environment import Environment, Wrapper
from rlformers.errors import UserError

__all__ = ["Flatten", "OneHot"]


class OneHot(Wrapper):
    """Makes one-hot vectors, float32, of the integers in observations; all else stays, dicts and tuples included.

    Discrete(n) becomes Box [n], MultiDiscrete the one-hots of its entries one after the other.
    """

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """Start an episode."""
        obs, state = self.env.reset_env(key, params)
        return self._encode(obs, params), state

    def step_env(self, key: PRNGKeyArray, state: Any, action: Any, params: Any) -> tuple[Any, Any, Array, Array, dict]:
        """Make a step, without automatic reset."""
        obs, state, reward, terminated, info = self.env.step_env(key, state, action, params)
        return self._encode(obs, params), state, reward, terminated, info

    @property
    def keeps_observation(self) -> bool:
        """Whether there is but one vector of numbers."""
        return _is_vector(self.env)

    def _encode(self, obs: Any, params: Any) -> Any:
        return spaces.map_leaves(spaces.one_hot, self.env.observation_space(params), obs)

    def observation_space(self, params: Any) -> spaces.Space:
        """Space of the observations."""
        return spaces.map_leaves(
            lambda leaf: leaf if isinstance(leaf, spaces.Box) else spaces.flatten_space(leaf),
            self.env.observation_space(params),
        )


class Flatten(Wrapper):
    """Makes observations what the encoders read: one float32 vector, an image [H, W, C], or a dict of named parts.

    Everything is flattened (see `spaces.flatten`; integers become one-hot as in `OneHot`) into one vector, except a Box
    of rank 3, which is an image, and the top-level key "action_mask" of a Dict. The observation is the vector or the
    image alone, or a dict with those of "vector", "image" and "action_mask" that there are. Vectors pass unchanged.

    Raises:
        UserError: More than one image.
    """

    def __init__(self, env: Environment):
        super().__init__(env)
        images, _, _ = _sort(env.observation_space(env.default_params))
        if len(images) > 1:
            raise UserError(f"Flatten: {env.name} has {len(images)} images, at most one is allowed")

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

    @property
    def keeps_observation(self) -> bool:
        """Whether there is but one vector of numbers."""
        return _is_vector(self.env)

    def observation_space(self, params: Any) -> spaces.Space:
        """Space of the observations."""
        space = self.env.observation_space(params)
        if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.dtype == jnp.float32:
            return space
        images, rest, mask = _sort(space)
        vector = [spaces.flatten_space(spaces.Tuple([leaf for leaf, _ in rest]))] if rest else []
        parts = _join([image for image, _ in images], vector, {key: space.spaces[key] for key in mask})
        return spaces.Dict(parts) if isinstance(parts, dict) else parts


def _is_vector(env: Environment) -> bool:
    space = env.observation_space(env.default_params)
    return isinstance(space, spaces.Box) and len(space.shape) == 1


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
