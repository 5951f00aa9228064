"""Named values of one copy as one row of bytes, which both the program and the host can read.

Every argument and every result of a callback costs time (with four and six of them, a callback takes 110 us instead of
44 us), so a question to the host is one array, and its answer another.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8


class Record:
    """What a row holds.

    Args:
        fields: Dtype and shape by name, in order.
    """

    def __init__(self, fields: Mapping[str, tuple[Any, tuple[int, ...]]]):
        self.fields = {name: (np.dtype(dtype), tuple(shape)) for name, (dtype, shape) in fields.items()}
        # On the host, a row is an entry of an array of this type.
        self.dtype = np.dtype([(name, *field) for name, field in self.fields.items()])

    @property
    def size(self) -> int:
        """Bytes of a row."""
        return self.dtype.itemsize

    def pack(self, values: Mapping[str, Any]) -> UInt8[Array, " size"]:
        """In the program: a row of its values."""
        parts = []
        for name, (dtype, _) in self.fields.items():
            value = jnp.asarray(values[name]).astype(_carrier(dtype))
            parts.append(jnp.ravel(jax.lax.bitcast_convert_type(value, jnp.uint8)))
        return jnp.concatenate(parts)

    def unpack(self, row: UInt8[Array, " size"]) -> dict[str, Array]:
        """In the program: the values of a row."""
        values, start = {}, 0
        for name, (dtype, shape) in self.fields.items():
            end = start + math.prod(shape) * dtype.itemsize
            width = () if dtype.itemsize == 1 else (dtype.itemsize,)
            part = row[start:end].reshape(*shape, *width)
            values[name] = jax.lax.bitcast_convert_type(part, _carrier(dtype)).astype(dtype)
            start = end
        return values


def _carrier(dtype: np.dtype) -> np.dtype:
    """What to take the bits of: truth values have none in XLA."""
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype
