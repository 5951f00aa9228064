"""Learning rates per parameter group."""

from typing import Any

import jax
from jaxtyping import Array

from rlformers.cores.core import Core


def learning_rates(tree: Any, core_lr_scale: Array | float) -> Any:
    """A pytree like `tree`: `core_lr_scale` for the fields that a core lists in `slow_fields`, else 1.

    State-space models train the parameters of their dynamics more slowly than the rest (S4 and S5, `ssm_lr`). A field
    `a.b` is the field b of the core's field a.
    """

    def scale(path: tuple, _: Array) -> Array | float:
        node = tree
        for depth, entry in enumerate(path):
            if isinstance(entry, jax.tree_util.GetAttrKey):
                if isinstance(node, Core) and _is_slow(node, path[depth:]):
                    return core_lr_scale
                node = getattr(node, entry.name)
            else:
                node = node[entry.idx if isinstance(entry, jax.tree_util.SequenceKey) else entry.key]
        return 1.0

    return jax.tree_util.tree_map_with_path(scale, tree)


def _is_slow(core: Core, path: tuple) -> bool:
    names = ".".join(str(getattr(entry, "name", entry)) for entry in path) + "."
    return any(names.startswith(f"{field}.") for field in getattr(core, "slow_fields", ()))
