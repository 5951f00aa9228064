"""Checks that the numbers of an update are finite, with one flag per leaf to name the first that is not.

The flags cost next to nothing: the norm of the gradients sums their squares anyway, and everything
else is read once per update. Memories and environment states have no flags. Infinities can be right
there, such as the maximum over nothing.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

# What an update checks besides the leaves of trees, in the order of its flags.
_ACTING = ("reward", "value", "value of the final observation", "log-probability of the action")
_LOSS = ("policy_loss", "value_loss", "entropy")


def finite(tree: Any) -> Bool[Array, " N"]:
    """Whether each of N leaves is finite."""
    return jnp.stack([jnp.isfinite(x).all() if _is_inexact(x) else jnp.ones((), bool) for x in jax.tree.leaves(tree)])


def finite_acting(rollout: Any, last_obs: Any) -> Bool[Array, " N"]:
    """Flags of the `Rollout` of an update and of the observations after it."""
    final_value = jnp.where(rollout.truncated, rollout.final_value, 0.0)
    numbers = (rollout.reward, rollout.value, final_value, rollout.log_prob)
    return jnp.concatenate([finite(rollout.obs) & finite(last_obs), finite(numbers)])


def finite_learning(grads: Any, metrics: dict[str, Array]) -> Bool[Array, " N"]:
    """Flags of a minibatch: its loss and the squares of its gradients; if one overflows, the norm cannot be clipped."""
    squares = jax.tree.map(lambda gradient: jnp.sum(jnp.square(gradient)), grads)
    return finite(([metrics[name] for name in _LOSS], squares, metrics["grad_norm"]))


def first_failure(flags: Bool[Array, "*batch N"]) -> Bool[Array, " N"]:
    """The flags of the first of E x M minibatches with a failure, which spoils the ones after it."""
    flags = flags.reshape(-1, flags.shape[-1])
    return flags[jnp.argmin(flags.all(-1))]


def finite_state(state: Any) -> Bool[Array, " N"]:
    """Flags of the parameters and of the normalisers, whose sums of squares can overflow when observations do not.

    The optimiser holds means of gradients and of their squares, which have flags already.
    """
    return finite((state.agent, state.normalizers))


def checked(state: Any) -> list[str]:
    """The names of an update's flags, in order: acting, learning, and the state after it.

    Args:
        state: A `TrainState`, as arrays or `jax.ShapeDtypeStruct`s.
    """
    return [
        *_names("observation", state.obs),
        *_ACTING,
        *_LOSS,
        *_names("gradient of agent", state.agent),
        "grad_norm",
        *_names("agent", state.agent),
        *_names("normalizers", state.normalizers),
    ]


def _names(what: str, tree: Any) -> list[str]:
    return [what + jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _is_inexact(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.inexact))
