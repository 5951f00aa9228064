"""Types that a scan can carry, out of what other packages return."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array


def cast(value: Any, dtype: Any = None) -> Array:
    """An array of this dtype (default: its own), never weakly typed; random keys stay as they are."""
    value = jnp.asarray(value)
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return value
    return lax.convert_element_type(value, dtype or value.dtype)


def strong(tree: Any) -> Any:
    """A pytree whose leaves are arrays with types of their own: no Python numbers, no weak types."""
    return jax.tree.map(cast, tree)


def like(tree: Any, before: Any) -> Any:
    """A state with the dtypes of the state before."""
    return jax.tree.map(lambda leaf, old: cast(leaf, old.dtype), tree, before)
