"""Learning rates per parameter group."""

from typing import Any

import jax
from jaxtyping import Array

from rlformers.cores.core import Core


def learning_rates(tree: Any, core_lr_scale: Array | float) -> Any:
    """A pytree like `tree`: `core_lr_scale` for the fields that a core lists in `slow_fields`, else 1.

    State-space models train the parameters of their dynamics more slowly than the rest (S4 and S5, `ssm_lr`).
    """

    def scale(path: tuple, _: Array) -> Array | float:
        node = tree
        for entry in path:
            if isinstance(entry, jax.tree_util.GetAttrKey):
                if isinstance(node, Core) and entry.name in getattr(node, "slow_fields", ()):
                    return core_lr_scale
                node = getattr(node, entry.name)
            else:
                node = node[entry.idx if isinstance(entry, jax.tree_util.SequenceKey) else entry.key]
        return 1.0

    return jax.tree_util.tree_map_with_path(scale, tree)
