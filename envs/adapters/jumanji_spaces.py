"""Specs of jumanji as spaces, and its observations as values of them."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jumanji import specs

from rlformers.envs.spaces import Box, Dict, Discrete, MultiDiscrete, Space

# Integers with at most so many values are symbols, which the agent sees as one-hot; others are numbers.
MOST_SYMBOLS = 64


class Symbols(MultiDiscrete):
    """Integers of any shape from `low` on, in a row and counted from 0."""

    def __init__(self, low: int, num_values: int, size: int):
        super().__init__([num_values] * size)
        self.low = low


class Symbol(Discrete):
    """One integer from `low` on, counted from 0."""

    def __init__(self, low: int, num_values: int):
        super().__init__(num_values)
        self.low = low


def fields(observation: Any) -> dict[str, Any]:
    """Parts of an observation of jumanji, a NamedTuple or a dataclass; none of an array."""
    if hasattr(observation, "_asdict"):
        return dict(observation._asdict())
    if dataclasses.is_dataclass(observation):
        return {field.name: getattr(observation, field.name) for field in dataclasses.fields(observation)}
    return {}


def space_of(spec: specs.Spec, example: Any) -> Any:
    """The space for a spec, of which `example` shows the names: a Dict where there are parts.

    Integers with few values are `Symbols`; all other numbers, and truth values as 0 and 1, are float32 in a Box.
    """
    if not isinstance(spec, specs.Array):
        names = [name for name in fields(example) if name != "action_mask"]
        return Dict({name: space_of(spec[name], fields(example)[name]) for name in names})
    bounded = isinstance(spec, specs.BoundedArray)
    low, high = (np.asarray(bound) for bound in ((spec.minimum, spec.maximum) if bounded else (-np.inf, np.inf)))
    if bounded and np.dtype(spec.dtype).kind in "iu":
        first, count = int(low.min()), int(high.max()) - int(low.min()) + 1
        if count <= MOST_SYMBOLS:
            return Symbols(first, count, int(np.prod(spec.shape))) if spec.shape else Symbol(first, count)
    lowest, highest = (np.broadcast_to(bound, spec.shape).astype(np.float32) for bound in (low, high))
    return Box(jnp.asarray(lowest), jnp.asarray(highest), spec.shape, jnp.float32)


def convert(space: Space, observation: Any) -> Any:
    """An observation as a value of its space, without the mask of actions."""
    if isinstance(space, Dict):
        return {name: convert(part, getattr(observation, name)) for name, part in space.spaces.items()}
    if isinstance(space, Symbols | Symbol):
        return (jnp.asarray(observation, jnp.int32) - space.low).reshape(space.shape)
    return jnp.asarray(observation, jnp.float32)
