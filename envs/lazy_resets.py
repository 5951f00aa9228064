"""Resets that are computed only for the copies whose episode ended.

A choice between a step and a reset, vmapped over copies of an environment, computes both for all of them, in every
step. Where a reset costs more than a step (a maze is carved, a task drawn), it dominates. Here the copies that ended
are gathered, and reset a few at a time until none is left. Every copy is reset with its own key, so episodes are those
of the plain choice, bit for bit: nothing is drawn in advance, shared or used twice.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, PRNGKeyArray

# From a key and params the observation and state that an episode begins with, or any other pytree.
Reset = Callable[[PRNGKeyArray, Any], Any]

AT_A_TIME = 16  # a sixteenth of the copies is reset at a time
_everywhere: ContextVar[bool] = ContextVar("everywhere", default=False)


@contextmanager
def resets_everywhere() -> Iterator[None]:
    """Trace plain choices: where copies are divided over devices, gathering those that ended would move all."""
    token = _everywhere.set(True)
    try:
        yield
    finally:
        _everywhere.reset(token)


def reset_where(
    reset: Reset, done: Bool[Array, ""], key: PRNGKeyArray, params: Any, otherwise: Any, lazily: bool
) -> Any:
    """`reset(key, params)` where an episode is done, else `otherwise`, leaf by leaf.

    Args:
        reset: Gives a pytree of the shapes and dtypes of `otherwise`. It may close over static values only.
        done: Whether the episode ended.
        key: Of this reset.
        params: All arrays that `reset` reads.
        otherwise: The pytree to keep.
        lazily: Compute it for the copies that are done only; else for all of them (`reset_is_dear` says which is
            faster).
    """
    if not lazily or _everywhere.get():
        return jax.tree.map(lambda new, old: jnp.where(done, new, old), reset(key, params), otherwise)
    # Lists of leaves: transformations put flags into the places of values, which a user's Params may refuse.
    leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, params))
    old, kind = jax.tree.flatten(jax.tree.map(jnp.asarray, otherwise))

    def reset_from(key: PRNGKeyArray, leaves: list[Array]) -> list[Array]:
        new = jax.tree.leaves(reset(key, jax.tree.unflatten(structure, leaves)))
        return [x.astype(like.dtype) for x, like in zip(new, old, strict=True)]

    @custom_vmap
    def choose(done: Array, key: Array, leaves: list[Array], old: list[Array]) -> list[Array]:
        return jax.lax.cond(done, lambda: reset_from(key, leaves), lambda: old)

    @choose.def_vmap
    def choose_among(size: int, batched: Any, done: Array, key: Array, leaves: list[Any], old: list[Any]) -> Any:
        done, key, old = _batched(size, (batched[0], batched[1], batched[3]), (done, key, old))
        out = _among(reset_from, batched[2])(done, key, leaves, old)
        return out, [True] * len(out)

    return jax.tree.unflatten(kind, choose(done, key, leaves, old))


def _among(reset_from: Callable[[PRNGKeyArray, list[Array]], Any], differ: list[bool]) -> Callable[..., Any]:
    """`reset_where` of B copies; `differ` says which leaves of the params do so between them."""
    axes = [0 if differs else None for differs in differ]

    @custom_vmap
    def among(done: Array, key: Array, leaves: list[Any], old: list[Any]) -> Any:
        B = len(done)
        K = max(1, B // AT_A_TIME)
        count = done.sum()
        ended = jnp.nonzero(done, size=-(-B // K) * K, fill_value=B)[0]  # B: none

        def few(carry: tuple[Array, Any]) -> tuple[Array, Any]:
            i, chosen = carry
            copies = jax.lax.dynamic_slice_in_dim(ended, i, K)
            here = jnp.minimum(copies, B - 1)
            own = [x[here] if differs else x for x, differs in zip(leaves, differ, strict=True)]
            fresh = jax.vmap(reset_from, (0, axes))(key[here], own)
            put = jax.tree.map(lambda kept, new: kept.at[copies].set(new, mode="drop"), chosen, fresh)
            return i + K, put

        return jax.lax.while_loop(lambda carry: carry[0] < count, few, (jnp.zeros((), count.dtype), old))[1]

    @among.def_vmap
    def among_groups(size: int, batched: Any, done: Array, key: Array, leaves: list[Any], old: list[Any]) -> Any:
        """G groups of B copies are G x B copies: one loop for all."""
        done, key, old = _batched(size, (batched[0], batched[1], batched[3]), (done, key, old))
        B = done.shape[1]

        def flat(x: Any) -> Array:
            return x.reshape(size * B, *x.shape[2:])

        def of_each(x: Any, by_group: bool, by_copy: bool) -> Any:
            if not by_group and not by_copy:
                return x
            x = x if by_group else jnp.broadcast_to(x, (size, *x.shape))
            return flat(x if by_copy else jnp.broadcast_to(x[:, None], (size, B, *x.shape[1:])))

        leaves = [of_each(*each) for each in zip(leaves, batched[2], differ, strict=True)]
        now_differ = [by_group or by_copy for by_group, by_copy in zip(batched[2], differ, strict=True)]
        done, key, old = jax.tree.map(flat, (done, key, old))
        out = _among(reset_from, now_differ)(done, key, leaves, old)
        out = jax.tree.map(lambda x: x.reshape(size, B, *x.shape[1:]), out)
        return out, [True] * len(out)

    return among


def _batched(size: int, flags: Any, trees: Any) -> Any:
    """Trees with a leading axis of `size` in every leaf; the flags say which have it."""
    return jax.tree.map(lambda has, x: x if has else jnp.broadcast_to(x, (size, *x.shape)), flags, trees)


_dear: WeakKeyDictionary[Any, dict[Any, bool]] = WeakKeyDictionary()


def reset_is_dear(env: Any, params: Any) -> bool:
    """Whether a reset of an environment computes more than a step of it does, by the operations of both programs."""
    known = _dear.setdefault(env, {})
    leaves, structure = jax.tree.flatten(params)
    structs = [jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)) for x in leaves]
    at = str((structure, structs))
    if at not in known:

        def reset(key: PRNGKeyArray, leaves: list[Array]) -> Any:
            return env.reset_env(key, jax.tree.unflatten(structure, leaves))

        def step(key: PRNGKeyArray, state: Any, leaves: list[Array]) -> Any:
            params = jax.tree.unflatten(structure, leaves)
            return env.step_env(key, state, env.action_space(params).sample(key), params)

        key = jax.random.key(0)
        of_reset, (_, state) = jax.make_jaxpr(reset, return_shape=True)(key, structs)
        of_step = jax.make_jaxpr(step)(key, state, structs)
        known[at] = operations(of_reset.jaxpr) > operations(of_step.jaxpr)
    return known[at]


# The assumed number of turns of a loop whose length is not known before it runs.
UNKNOWN_TURNS = 10
# Operations per random number: a counter-based generator hashes each one.
HASH = 60


def operations(jaxpr: Any) -> int:
    """Numbers that a program computes, loops multiplied out; a drawn one counts as the operations of its hash."""
    total = 0
    for eqn in jaxpr.eqns:
        inner = [getattr(p, "jaxpr", p) for p in jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_jaxpr)]
        inner = [p for p in inner if hasattr(p, "eqns")]
        made = sum(math.prod(v.aval.shape) for v in eqn.outvars if hasattr(v.aval, "shape"))
        if eqn.primitive.name in ("random_bits", "threefry2x32", "random_split", "random_fold_in"):
            total += HASH * made
        elif eqn.primitive.name == "sort":
            total += made * max(1, math.prod(eqn.outvars[0].aval.shape).bit_length()) ** 2
        elif eqn.primitive.name == "cond":
            total += max(map(operations, inner), default=0)
        elif inner:
            turns = UNKNOWN_TURNS if eqn.primitive.name == "while" else eqn.params.get("length", 1)
            total += turns * sum(map(operations, inner))
        else:
            total += made
    return total


def _is_jaxpr(value: Any) -> bool:
    return hasattr(getattr(value, "jaxpr", value), "eqns")
