"""Wrappers that make observations what the encoders read: one-hot vectors of integers, one vector of everything."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from rlformers.envs import spaces
from rlformers.envs.environment import Environment, Wrapper
from rlformers.envs.wrappers.layouts import Layout, layout_of
from rlformers.errors import UserError

__all__ = ["Flatten", "OneHot"]

IGNORE = "model.encoder.ignore"  # the key that says what is left out


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


class Parts(NamedTuple):
    """The leaves of a space, and those of a value of it where there is one, sorted by how they are read."""

    images: dict[str, tuple[spaces.Space, Layout, Any]]  # by path
    numbers: list[tuple[spaces.Space, Any]]
    mask: dict[str, Any]  # "action_mask", if there is one


class Flatten(Wrapper):
    """Makes observations what the encoders read: one float32 vector, an image [H, W, C], or a dict of named parts.

    Everything is flattened (see `spaces.flatten`; integers become one-hot as in `OneHot`) into one vector, except
    images, and the top-level key "action_mask" of a Dict. Images are Boxes that `layouts.layout_of` tells by their
    shapes; they keep their dtype, and their axes are brought into the order [H, W, C], with the frames of a stack as
    channels. The observation is the vector or the image alone, or a dict with those of "vector", "image" and
    "action_mask" that there are; several images are "image/" and their names. Vectors pass unchanged.

    Without `one_hot`, integers stay integers, in the smallest type (`spaces.symbol_space`), and Boxes of 8 or 16 bits
    what they are: in place of the vector stands a tuple of vectors, one for each run of parts of one type, in the order
    in which they are parts of the vector; or the one of integers, if there is no other. The learner stores this.

    Args:
        env: Any environment.
        ignore: Names of parts that are left out, wherever they stand, or paths "a/b".
        one_hot: Whether integers become one-hot.

    Raises:
        UserError: A part that cannot be read, or a name of which there is no part; one line that names both.
    """

    def __init__(self, env: Environment, ignore: Sequence[str] = (), one_hot: bool = True):
        super().__init__(env)
        self.one_hot = one_hot
        self.ignore = (ignore,) if isinstance(ignore, str) else tuple(ignore)
        space = env.observation_space(env.default_params)
        names = part_names(space)
        for name in self.ignore:
            if name not in names:
                has = ", ".join(sorted(names)) or "one part without a name"
                raise UserError(f"{IGNORE}: {name!r} is no part of the observation, which has {has}")
        self._sort(space)

    def _sort(self, space: spaces.Space, value: Any = None) -> Parts:
        """Sort the leaves of a space, and of its value."""
        parts = Parts({}, [], {})
        for path, leaf, entry in spaces.named_leaves(space, value):
            if path == ("action_mask",):
                parts.mask["action_mask"] = entry
            elif not {*path, "/".join(path)} & set(self.ignore):
                where = "/".join(path)
                layout = layout_of(leaf, repr(where) if where else "") if isinstance(leaf, spaces.Box) else None
                if isinstance(leaf, spaces.Unreadable):
                    raise UserError(
                        f"env: the observation {where!r} is {leaf.kind}, which encoders cannot read"
                        + (f"; {IGNORE}=[{path[-1]}] leaves it out" if where else "")
                    )
                if layout is None:
                    parts.numbers.append((leaf, entry))
                else:
                    parts.images[where] = leaf, layout, entry
        return parts

    def flatten(self, obs: Any, params: Any) -> Any:
        """What becomes of an observation of the wrapped environment."""
        parts = self._sort(self.env.observation_space(params), obs)
        vectors = [
            spaces.symbols(space, values) if dtype is None else spaces.flatten(space, values, dtype)
            for dtype, space, values in self._runs(parts)
        ]
        images = {path: layout.apply(image) for path, (_, layout, image) in parts.images.items()}
        return _join(images, _alone(vectors, tuple), parts.mask)

    def _runs(self, parts: Parts) -> Iterator[tuple[Any, spaces.Tuple, tuple[Any, ...]]]:
        """The parts that are numbers, divided where the type of their vectors changes; None is that of symbols."""
        for dtype, run in itertools.groupby(parts.numbers, lambda part: self._dtype(part[0])):
            leaves, values = zip(*run, strict=True)
            yield dtype, spaces.Tuple(leaves), values

    def _dtype(self, leaf: spaces.Space) -> Any:
        if self.one_hot:
            return jnp.dtype(jnp.float32)
        if not isinstance(leaf, spaces.Box):
            return None
        dtype = jnp.dtype(leaf.dtype)
        return dtype if dtype.kind in "biu" and dtype.itemsize <= 2 else jnp.dtype(jnp.float32)

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
        parts = self._sort(space)
        vectors: list[spaces.Space] = [
            spaces.symbol_space(run) if dtype is None else spaces.flatten_space(run, dtype)
            for dtype, run, _ in self._runs(parts)
        ]
        images = {path: _image_space(leaf, layout) for path, (leaf, layout, _) in parts.images.items()}
        joined = _join(images, _alone(vectors, spaces.Tuple), {key: space.spaces[key] for key in parts.mask})
        return spaces.Dict(joined) if isinstance(joined, dict) else joined


def part_names(space: spaces.Space) -> set[str]:
    """The names of the parts of a space, and their paths "a/b"."""
    return {name for path, _, _ in spaces.named_leaves(space) for name in (*path, "/".join(path))} - {""}


def _is_vector(env: Environment) -> bool:
    space = env.observation_space(env.default_params)
    return isinstance(space, spaces.Box) and len(space.shape) == 1


def _image_space(space: spaces.Box, layout: Layout) -> spaces.Box:
    """The space of an image; bounds for all cells, or for each."""
    bounds = [
        layout.apply(jnp.broadcast_to(jnp.asarray(bound), space.shape)) if jnp.ndim(bound) else bound
        for bound in (space.low, space.high)
    ]
    return spaces.Box(*bounds, layout.shape, space.dtype)


def _alone(vectors: list, pack: Callable[[list], Any]) -> list:
    """Nothing, the only vector, or the vectors as one part."""
    return [pack(vectors)] if len(vectors) > 1 else vectors


def _join(images: dict[str, Any], vector: list, mask: dict[str, Any]) -> Any:
    """The only part there is, or a dict of the parts."""
    if len(images) + len(vector) == 1 and not mask:
        return [*images.values(), *vector][0]
    named = {f"image/{path}" if len(images) > 1 else "image": image for path, image in images.items()}
    return named | ({"vector": vector[0]} if vector else {}) | mask
