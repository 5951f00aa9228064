"""Checkpoints from when learners kept integers in observations as one-hots, in one float32 vector with other numbers.

All else in them is as it is now.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from rlformers.agents.ppo import TrainState


def older_template(template: Any) -> TrainState | None:
    """The state as it was kept then; None if it was the same, or for anything that is no whole state.

    Args:
        template: A `TrainState` of arrays or `jax.ShapeDtypeStruct`s, leaves [S, ...].
    """
    if not isinstance(template, TrainState) or template.obs is None:
        return None
    pieces, widths, _ = _divided(template)
    if not pieces or (len(pieces) == 1 and pieces[0].dtype == jnp.float32):
        return None
    shape = (*pieces[0].shape[:-1], sum(widths))
    vector = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=getattr(pieces[0], "sharding", None))
    return template._replace(obs={**template.obs, "vector": vector} if isinstance(template.obs, dict) else vector)


def renewed(state: TrainState, template: TrainState) -> TrainState:
    """A state like `older_template(template)` as one like `template`."""
    pieces, widths, symbols = _divided(template)
    vector = state.obs["vector"] if isinstance(state.obs, dict) else state.obs
    parts = jnp.split(vector, np.cumsum(widths)[:-1], axis=-1)
    found = [
        (_numbers(part, sizes) if sizes else part).astype(piece.dtype)
        for part, piece, sizes in zip(parts, pieces, symbols, strict=True)
    ]
    placed = [getattr(piece, "sharding", None) for piece in pieces]
    found = [x if where is None else jax.device_put(x, where) for x, where in zip(found, placed, strict=True)]
    obs = jax.tree.unflatten(jax.tree.structure(_vector(template.obs)), found)
    return state._replace(obs={**state.obs, "vector": obs} if isinstance(state.obs, dict) else obs)


def _vector(obs: Any) -> Any:
    """The vector that `Flatten` makes, whole or in pieces, [S, B, n]; None if there are images only."""
    if isinstance(obs, dict):
        return obs.get("vector")
    return obs if isinstance(obs, tuple) or obs.ndim == 3 else None


def _divided(template: TrainState) -> tuple[list[Any], list[int], list[tuple[int, ...]]]:
    """The pieces of the vector, their widths as one-hots, and the sizes of their symbols."""
    pieces = jax.tree.leaves(_vector(template.obs))
    symbols = list(template.agent.encoder.symbols)[-len(pieces) :]  # "vector" comes after "image"
    return pieces, [sum(sizes) or piece.shape[-1] for piece, sizes in zip(pieces, symbols, strict=False)], symbols


def _numbers(hot: Float[Array, "S B F"], sizes: tuple[int, ...]) -> Integer[Array, "S B k"]:
    """Which entry of each one-hot is 1; its size if none is."""
    parts = jnp.split(hot, np.cumsum(sizes)[:-1], axis=-1)
    return jnp.stack([jnp.where(x.any(-1), x.argmax(-1), n) for x, n in zip(parts, sizes, strict=True)], axis=-1)
