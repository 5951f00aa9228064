"""Adam with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019) and a learning rate per parameter."""

from typing import Any

import chex
import jax
import optax
from jaxtyping import Array, ArrayLike

from rlformers.config.ppo import Numbers
from rlformers.cores.core import Core


def adam(numbers: Numbers) -> optax.GradientTransformation:
    """From gradients to directions: clip their norm over all parameters, then apply Adam's moments."""
    return optax.chain(
        optax.clip_by_global_norm(numbers.max_grad_norm),
        optax.scale_by_adam(numbers.adam_b1, numbers.adam_b2, numbers.adam_eps),
    )


def descend(params: Any, directions: Any, lr: Array, numbers: Numbers) -> Any:
    """p - lr s (u + λ p) for every parameter p, with direction u.

    s is `core_lr_scale` for the parameters of a core's dynamics, else 1. λ is `weight_decay` for
    matrices. It is 0 for biases, the scales of norms, and the parameters of dynamics, whose size
    has a meaning.
    """

    def one(p: Array, u: Array, scale: ArrayLike, decays: bool) -> Array:
        return p - lr * scale * (u + numbers.weight_decay * p if decays else u)

    chex.assert_trees_all_equal_shapes(params, directions)
    slow = slow_parameters(params)
    decays = jax.tree.map(lambda p, is_slow: p.ndim >= 2 and not is_slow, params, slow)
    return jax.tree.map(one, params, directions, learning_rates(params, numbers.core_lr_scale), decays)


def learning_rates(tree: Any, core_lr_scale: ArrayLike) -> Any:
    """A pytree like `tree`: `core_lr_scale` for the parameters of dynamics (`slow_parameters`), else 1.

    State-space models train them more slowly than the rest (S4 and S5, `ssm_lr`).
    """
    return jax.tree.map(lambda is_slow: core_lr_scale if is_slow else 1.0, slow_parameters(tree))


def slow_parameters(tree: Any) -> Any:
    """A pytree like `tree` that says whether a leaf is in a field that its core lists in `slow_fields`.

    The field `a.b` is field b of the core's field a.
    """

    def is_slow(path: tuple, _: Array) -> bool:
        node = tree
        for depth, entry in enumerate(path):
            if isinstance(entry, jax.tree_util.GetAttrKey):
                if isinstance(node, Core) and _names_slow_field(node, path[depth:]):
                    return True
                node = getattr(node, entry.name)
            else:
                node = node[entry.idx if isinstance(entry, jax.tree_util.SequenceKey) else entry.key]
        return False

    return jax.tree_util.tree_map_with_path(is_slow, tree)


def _names_slow_field(core: Core, path: tuple) -> bool:
    names = ".".join(str(getattr(entry, "name", entry)) for entry in path) + "."
    return any(names.startswith(f"{field}.") for field in getattr(core, "slow_fields", ()))
