"""Between spaces of Gymnasium and ours: Box, Discrete, MultiDiscrete, MultiBinary, Dict, Tuple, nested at will."""

from collections.abc import Iterator
from typing import Any

import gymnasium.spaces as theirs
import jax.numpy as jnp
import numpy as np

from rlformers.envs import spaces
from rlformers.errors import UserError

# What 64 bits become; JAX has none by default.
_NARROW = {"float64": np.float32, "float16": np.float32, "int64": np.int32, "uint64": np.uint32}


def convert(space: theirs.Space, what: str) -> spaces.Space:
    """Our space for one of theirs. Numbers of 64 bits become such of 32, ranges of integers start at 0.

    Args:
        space: Theirs.
        what: "observation" or "action", for the message.

    Raises:
        UserError: A kind of space that has no fixed size.
    """
    if isinstance(space, theirs.Box):
        dtype = np.dtype(_NARROW.get(np.dtype(space.dtype).name, space.dtype))
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            low, high = np.clip(space.low, info.min, info.max), np.clip(space.high, info.min, info.max)
        else:
            with np.errstate(over="ignore"):  # the largest float64 becomes infinity, as it means
                low, high = space.low.astype(dtype), space.high.astype(dtype)
        return spaces.Box(jnp.asarray(low, dtype), jnp.asarray(high, dtype), space.shape, jnp.dtype(dtype))
    if isinstance(space, theirs.Discrete):
        return spaces.Discrete(int(space.n))
    if isinstance(space, theirs.MultiDiscrete):
        return spaces.MultiDiscrete(space.nvec.ravel())
    if isinstance(space, theirs.MultiBinary):
        return spaces.MultiDiscrete([2] * int(np.prod(space.shape)))
    if isinstance(space, theirs.Dict):
        return spaces.Dict({key: convert(part, what) for key, part in space.spaces.items()})
    if isinstance(space, theirs.Tuple):
        return spaces.Tuple([convert(part, what) for part in space.spaces])
    raise UserError(
        f"env: its {what} space has a {type(space).__name__}, need Box, Discrete, MultiDiscrete, "
        "MultiBinary, Dict or Tuple"
    )


def to_leaves(space: theirs.Space, value: Any) -> list[np.ndarray]:
    """One of their values as the parts of ours, in the order of `spaces.leaves`."""
    if isinstance(space, theirs.Dict):
        return [leaf for key, part in space.spaces.items() for leaf in to_leaves(part, value[key])]
    if isinstance(space, theirs.Tuple):
        pairs = zip(space.spaces, value, strict=True)
        return [leaf for part, entry in pairs for leaf in to_leaves(part, entry)]
    if isinstance(space, theirs.Discrete | theirs.MultiDiscrete):
        value = np.asarray(value) - space.start
    array = np.asarray(value)
    return [array if isinstance(space, theirs.Box) else array.ravel() if array.ndim else array]


def assemble(space: spaces.Space, parts: Iterator[Any]) -> Any:
    """A value of our space of its parts, which come in the order of `spaces.leaves`."""
    if isinstance(space, spaces.Dict):
        return {key: assemble(entry, parts) for key, entry in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(assemble(entry, parts) for entry in space.spaces)
    return next(parts)


def from_leaves(space: theirs.Space, leaves: list[Any]) -> Any:
    """The reverse of `to_leaves`; takes its parts off the front of the list."""
    if isinstance(space, theirs.Dict):
        return {key: from_leaves(part, leaves) for key, part in space.spaces.items()}
    if isinstance(space, theirs.Tuple):
        return tuple(from_leaves(part, leaves) for part in space.spaces)
    leaf = leaves.pop(0)
    if isinstance(space, theirs.Discrete):
        return np.dtype(space.dtype).type(leaf + space.start)
    if isinstance(space, theirs.MultiDiscrete):
        return (leaf.reshape(space.shape) + space.start).astype(space.dtype)
    return np.array(leaf, space.dtype).reshape(space.shape)  # an array also where there are no axes
