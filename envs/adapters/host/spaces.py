"""Between spaces of Gymnasium and ours: Box, Discrete, MultiDiscrete, MultiBinary, Dict, Tuple, nested at will."""

import math
from collections.abc import Iterator, Sequence
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
        return _box(space, what)
    if isinstance(space, theirs.Discrete):
        return spaces.Discrete(int(space.n))
    if isinstance(space, theirs.MultiDiscrete):
        return spaces.MultiDiscrete(space.nvec.ravel())
    if isinstance(space, theirs.MultiBinary):
        return spaces.MultiDiscrete([2] * int(np.prod(space.shape)))
    if isinstance(space, theirs.Dict):
        parts = {key: convert(part, what) for key, part in space.spaces.items()}
        if what == "observation" and "action_mask" in parts and _is_mask(space["action_mask"]):
            size = math.prod(space["action_mask"].shape or ())
            parts["action_mask"] = spaces.Box(False, True, (size,), jnp.dtype(bool))
        return spaces.Dict(parts)
    if isinstance(space, theirs.Tuple):
        return spaces.Tuple([convert(part, what) for part in space.spaces])
    if what == "observation" and not isinstance(space, theirs.OneOf):
        return spaces.Unreadable(type(space).__name__)  # refused by `Flatten`, unless it is to be ignored
    raise UserError(
        f"env: its {what} space has a {type(space).__name__}, need Box, Discrete, MultiDiscrete, "
        "MultiBinary, Dict or Tuple"
    )


def _is_mask(space: theirs.Space) -> bool:
    """Whether values are zeros and ones, whatever their type."""
    box = isinstance(space, theirs.Box) and bool((space.low == 0).all() and (space.high == 1).all())
    whole = box and np.dtype(space.dtype).kind in "biu"
    return whole or isinstance(space, theirs.MultiBinary)


def _box(space: theirs.Box, what: str) -> spaces.Box:
    """Our Box for one of theirs, with the bounds that its narrower type can hold.

    Raises:
        UserError: No action of the narrower type is between the bounds.
    """
    dtype = np.dtype(_NARROW.get(np.dtype(space.dtype).name, space.dtype))
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if what == "action" and ((space.low > info.max) | (space.high < info.min)).any():
            raise UserError(f"env: no action of type {dtype} lies between the bounds of its action space {space}")
        low, high = np.clip(space.low, info.min, info.max), np.clip(space.high, info.min, info.max)
    else:
        with np.errstate(over="ignore"):  # the largest float64 becomes infinity, as it means
            low, high = space.low.astype(dtype), space.high.astype(dtype)
    return spaces.Box(jnp.asarray(low, dtype), jnp.asarray(high, dtype), space.shape, jnp.dtype(dtype))


def encode(space: theirs.Space, values: Sequence[Any]) -> list[np.ndarray]:
    """Some of their values [B] as the parts of ours, [B, *shape], in the order of `spaces.leaves`."""
    if isinstance(space, theirs.Dict):
        return [leaf for key, part in space.spaces.items() for leaf in encode(part, [value[key] for value in values])]
    if isinstance(space, theirs.Tuple):
        parts = zip(space.spaces, zip(*values, strict=True), strict=True)
        return [leaf for part, entries in parts for leaf in encode(part, entries)]
    if not isinstance(space, theirs.Box | theirs.Discrete | theirs.MultiDiscrete | theirs.MultiBinary):
        return [np.zeros((len(values), 0), np.float32)]  # of `Unreadable`
    array = _together(values)
    if isinstance(space, theirs.Discrete | theirs.MultiDiscrete):
        array = array - space.start
    if not isinstance(space, theirs.Box):
        return [array.reshape(len(values), -1) if array.ndim > 1 else array]
    if array.dtype.kind in "iu" and array.dtype.itemsize > 4:
        info = np.iinfo(np.int32 if array.dtype.kind == "i" else np.uint32)
        array = np.clip(array, info.min, info.max)  # the cast would wrap around
    return [array]


def _together(values: Sequence[Any]) -> np.ndarray:
    """One array of all values; one of objects where their shapes differ, which is for the caller to complain about."""
    try:
        return np.array(values)
    except ValueError:
        array = np.empty(len(values), object)
        for i, value in enumerate(values):
            array[i] = value
        return array


def assemble(space: spaces.Space, parts: Iterator[Any]) -> Any:
    """A value of our space of its parts, which come in the order of `spaces.leaves`."""
    if isinstance(space, spaces.Dict):
        return {key: assemble(entry, parts) for key, entry in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(assemble(entry, parts) for entry in space.spaces)
    return next(parts)


def decode(space: theirs.Space, leaves: list[np.ndarray], size: int) -> list[Any]:
    """The reverse of `encode`, for `size` values; takes its parts off the front of the list."""
    if isinstance(space, theirs.Dict):
        parts = {key: decode(part, leaves, size) for key, part in space.spaces.items()}
        return [{key: values[i] for key, values in parts.items()} for i in range(size)]
    if isinstance(space, theirs.Tuple):
        entries = [decode(part, leaves, size) for part in space.spaces]
        return [tuple(values[i] for values in entries) for i in range(size)]
    leaf = leaves.pop(0)
    if isinstance(space, theirs.Discrete):
        return list((leaf + space.start).astype(space.dtype))
    array = leaf.reshape((size, *(space.shape or ())))
    if isinstance(space, theirs.MultiDiscrete):
        return list((array + space.start).astype(space.dtype))
    if isinstance(space, theirs.Box):  # whose bounds of float64 can lie between two numbers of float32
        if array.dtype.kind == "f":
            most = np.finfo(space.dtype).max if np.dtype(space.dtype).kind == "f" else np.inf
            array = np.clip(np.clip(array.astype(np.float64), -most, most), space.low, space.high)
        array = np.clip(array.astype(space.dtype), space.low, space.high)
    else:
        array = array.astype(space.dtype)
    return [array[i, ...] for i in range(size)]  # arrays also where there are no axes
