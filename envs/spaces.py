"""Spaces of gymnax, `MultiDiscrete`, and the flattening of any of them into one float32 vector."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments.spaces import Box, Dict, Discrete, Space, Tuple
from jaxtyping import Array, Bool, Integer, PRNGKeyArray, Shaped

from rlformers.errors import UserError

__all__ = [
    "Box",
    "Dict",
    "Discrete",
    "MultiDiscrete",
    "Space",
    "Tuple",
    "Unreadable",
    "bounds",
    "flat_size",
    "flatten",
    "flatten_space",
    "named_leaves",
    "one_hot",
    "sample",
    "symbol_sizes",
    "symbol_space",
    "symbols",
]


# Spaces without bounds are often given the largest numbers of float32 instead.
UNBOUNDED = 1e30


class Unreadable(Box):
    """A part of observations that is no array of a fixed size, such as a text: empty here, and refused by `Flatten`.

    Args:
        kind: What it is.
    """

    def __init__(self, kind: str):
        super().__init__(0.0, 1.0, (0,), jnp.float32)
        self.kind = kind


class MultiDiscrete(Space):
    """Vectors of n integers, entry i in {0, ..., nvec[i] - 1}.

    Args:
        nvec: The sizes.
        dtype: Of the vectors, one of integers.

    Raises:
        UserError: `nvec` is empty or has an entry below 1.
    """

    def __init__(self, nvec: Any, dtype: Any = jnp.int32):
        self.nvec = tuple(int(n) for n in nvec)
        if not self.nvec or min(self.nvec) < 1:
            raise UserError(f"MultiDiscrete: need one or more sizes of at least 1, got {self.nvec}")
        self.shape = (len(self.nvec),)
        self.dtype = jnp.dtype(dtype)

    def __repr__(self) -> str:
        return f"MultiDiscrete({self.nvec}, dtype={self.dtype.name})"

    def sample(self, key: PRNGKeyArray) -> Integer[Array, " n"]:
        """Uniform over all vectors."""
        return jax.random.randint(key, self.shape, 0, jnp.asarray(self.nvec)).astype(self.dtype)

    def contains(self, x: Any) -> Bool[Array, ""]:
        """Whether every entry is in its range."""
        x = jnp.asarray(x)
        return jnp.all((x >= 0) & (x < jnp.asarray(self.nvec)))


def leaves(space: Space, value: Any = None) -> list[tuple[Space, Any]]:
    """The spaces that have no parts, each with its part of `value`, in the order of Dict keys and Tuple entries."""
    if isinstance(space, Dict):
        keys: Any = space.spaces
    elif isinstance(space, Tuple):
        keys = range(len(space.spaces))
    else:
        return [(space, value)]
    return [leaf for key in keys for leaf in leaves(space.spaces[key], None if value is None else value[key])]


def named_leaves(space: Space, value: Any = None) -> list[tuple[tuple[str, ...], Space, Any]]:
    """As `leaves`, with the path of each: keys of Dicts and numbers of Tuple entries."""
    if isinstance(space, Dict | Tuple):
        keys: Any = space.spaces if isinstance(space, Dict) else range(len(space.spaces))
        return [
            ((str(key), *path), leaf, part)
            for key in keys
            for path, leaf, part in named_leaves(space.spaces[key], None if value is None else value[key])
        ]
    return [((), space, value)]


def bounds(space: Space, vectors: bool = True) -> tuple[Any, Any]:
    """The lower and the upper bounds of a space: NumPy arrays shaped like its values, in the same pytree.

    What is no Box lies from 0 to 1, for it is read as one-hots or is a mask.

    Args:
        space: Any space.
        vectors: Whether those of vectors count; if not, they are infinite.
    """

    def side(space: Space, name: str, default: int) -> Any:
        if isinstance(space, Dict):
            return {key: side(part, name, default) for key, part in space.spaces.items()}
        if isinstance(space, Tuple):
            return tuple(side(part, name, default) for part in space.spaces)
        bound = np.asarray(getattr(space, name, default))
        if not vectors and len(space.shape) == 1 and isinstance(space, Box):
            bound = np.asarray(-np.inf if name == "low" else np.inf)
        return np.broadcast_to(bound, space.shape)

    return side(space, "low", 0), side(space, "high", 1)


def sample(space: Space, key: PRNGKeyArray) -> Any:
    """Draw a value at random, which is in the space; uniformly where there are bounds.

    gymnax's own `sample` makes NaN of a Box without bounds, and never draws the upper bound of one of integers.
    """
    if isinstance(space, Dict):
        keys = jax.random.split(key, max(1, len(space.spaces)))
        return {name: sample(part, k) for (name, part), k in zip(space.spaces.items(), keys, strict=False)}
    if isinstance(space, Tuple):
        keys = jax.random.split(key, max(1, len(space.spaces)))
        return tuple(sample(part, k) for part, k in zip(space.spaces, keys, strict=False))
    if not isinstance(space, Box):
        return space.sample(key)
    dtype = np.dtype(space.dtype)
    low, high = (jnp.broadcast_to(jnp.asarray(bound, jnp.float32), space.shape) for bound in (space.low, space.high))
    below, above = jnp.abs(low) <= UNBOUNDED, jnp.abs(high) <= UNBOUNDED
    floor, ceiling = jnp.where(below, low, 0.0), jnp.where(above, high, 0.0)
    whole = dtype.kind in "biu"
    width = ceiling - floor + whole
    within = jax.random.uniform(key, space.shape, jnp.float32)
    beyond = jnp.abs(jax.random.normal(key, space.shape))  # from a single bound on
    free = jax.random.normal(key, space.shape)
    value = jnp.where(below & above, floor + width * within, jnp.where(below, floor + beyond, ceiling - beyond))
    value = jnp.where(below | above, value, free)
    if not whole:
        return jnp.clip(value, low, high).astype(dtype)
    least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    top = np.float32(most) if np.float32(most) <= most else np.nextafter(np.float32(most), np.float32(0))
    value = jnp.clip(jnp.floor(value), jnp.ceil(low), jnp.floor(high))
    return jnp.clip(value, np.float32(least), top).astype(dtype)  # a cast of what the type lacks is undefined


def as_dtype(x: Any, dtype: Any) -> Array:
    """Numbers in another type, rounded where only whole ones are left: a cast would cut them."""
    x = jnp.asarray(x)
    whole = jnp.issubdtype(dtype, jnp.integer) and jnp.issubdtype(x.dtype, jnp.floating)
    return (jnp.round(x) if whole else x).astype(dtype)


def text(space: Space) -> str:
    """A space in a few characters: `Discrete(4)`, `Box(3)`, `Box(10,10,4)`, `MultiDiscrete(9,9)`, `Dict(a: Box(2))`."""
    if isinstance(space, Discrete):
        return f"Discrete({space.n})"
    if isinstance(space, MultiDiscrete):
        same = len(set(space.nvec)) == 1 and len(space.nvec) > 3
        return f"MultiDiscrete({f'{space.nvec[0]} x{len(space.nvec)}' if same else ','.join(map(str, space.nvec))})"
    if isinstance(space, Dict):
        return f"Dict({', '.join(f'{key}: {text(part)}' for key, part in space.spaces.items())})"
    if isinstance(space, Tuple):
        return f"Tuple({', '.join(map(text, space.spaces))})"
    return f"{type(space).__name__}({','.join(map(str, getattr(space, 'shape', None) or ()))})"


def map_leaves(function: Callable[..., Any], space: Space, *values: Any) -> Any:
    """Apply `function(leaf, *parts)` to every leaf of a space and the parts of some values at its place.

    The result has the structure of the space: it is a Dict or Tuple of spaces if there are no values, else a dict or
    tuple.
    """
    if isinstance(space, Dict):
        parts = {
            key: map_leaves(function, part, *(value[key] for value in values)) for key, part in space.spaces.items()
        }
        return parts if values else Dict(parts)
    if isinstance(space, Tuple):
        entries = [
            map_leaves(function, part, *(value[index] for value in values)) for index, part in enumerate(space.spaces)
        ]
        return tuple(entries) if values else Tuple(entries)
    return function(space, *values)


def flat_size(space: Space) -> int:
    """Length of the vector that `flatten` makes of a value of this space.

    Raises:
        TypeError: A kind of space that is not one of this module's.
    """
    if isinstance(space, Discrete):
        return space.n
    if isinstance(space, MultiDiscrete):
        return sum(space.nvec)
    if isinstance(space, Box):
        return math.prod(space.shape)
    if isinstance(space, Dict | Tuple):
        return sum(flat_size(leaf) for leaf, _ in leaves(space))
    raise TypeError(f"cannot flatten the space {space!r}: it is none of Box, Discrete, MultiDiscrete, Dict, Tuple")


def flatten(space: Space, value: Any, dtype: Any = jnp.float32) -> Shaped[Array, " n"]:
    """One value of a space as a vector of this type.

    Discrete becomes one-hot, MultiDiscrete its one-hots one after the other, Box its entries in row-major order, Dict
    (in the order of its keys) and Tuple their parts one after the other.
    """
    return jnp.concatenate([jnp.ravel(one_hot(leaf, part)).astype(dtype) for leaf, part in leaves(space, value)])


def one_hot(space: Space, value: Any) -> Any:
    """One value of a space without parts: Discrete and MultiDiscrete as float32 one-hots, a Box as it is."""
    if isinstance(space, Discrete):
        return jax.nn.one_hot(value, space.n, dtype=jnp.float32)
    if isinstance(space, MultiDiscrete):
        if len(set(space.nvec)) == 1:  # one operation, of which the loop would make hundreds
            return jax.nn.one_hot(value, space.nvec[0], dtype=jnp.float32).ravel()
        parts = [jax.nn.one_hot(value[i], n, dtype=jnp.float32) for i, n in enumerate(space.nvec)]
        return jnp.concatenate(parts)
    return value


def symbol_space(space: Space) -> MultiDiscrete:
    """The space of the values of Discrete and MultiDiscrete parts, one after the other, in the smallest type.

    The type holds one number more than there are values, which `symbols` puts for what is none of them.
    """
    sizes = [n for leaf, _ in leaves(space) for n in getattr(leaf, "nvec", None) or (leaf.n,)]
    dtype = next((t for t in (jnp.uint8, jnp.uint16) if max(sizes) <= jnp.iinfo(t).max), jnp.int32)
    return MultiDiscrete(sizes, dtype)


def symbols(space: Space, value: Any) -> Array:
    """One value of a space of integers as a vector of `symbol_space`; its size stands for what is out of its range."""
    shown = symbol_space(space)
    numbers = jnp.concatenate([jnp.ravel(part).astype(jnp.int32) for _, part in leaves(space, value)])
    sizes = jnp.asarray(shown.nvec)
    return jnp.where((numbers >= 0) & (numbers < sizes), numbers, sizes).astype(shown.dtype)


def symbol_sizes(space: Space) -> tuple[tuple[int, ...], ...]:
    """For every array that an encoder sees, in the order of `jax.tree.leaves`: how many values each of its symbols has.

    Nothing, (), for what is no vector of symbols. The part "action_mask" of a Dict is left out.
    """
    if isinstance(space, Dict):
        return sum((symbol_sizes(space.spaces[key]) for key in sorted(space.spaces) if key != "action_mask"), ())
    if isinstance(space, Tuple):
        return sum(map(symbol_sizes, space.spaces), ())
    return (space.nvec if isinstance(space, MultiDiscrete) else (),)


def flatten_space(space: Space, dtype: Any = jnp.float32) -> Box:
    """The space of the vectors that `flatten` makes."""
    low: list[Array] = []
    high: list[Array] = []
    for leaf, _ in leaves(space):
        size = flat_size(leaf)
        for bounds, bound in ((low, getattr(leaf, "low", 0.0)), (high, getattr(leaf, "high", 1.0))):
            shape = leaf.shape if np.ndim(bound) else (size,)
            bounds.append(jnp.ravel(jnp.broadcast_to(jnp.asarray(bound, jnp.float32), shape)))
    return Box(jnp.concatenate(low), jnp.concatenate(high), (flat_size(space),), dtype)
