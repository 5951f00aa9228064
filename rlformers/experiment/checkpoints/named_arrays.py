"""Converts a pytree to a flat dict of plain arrays with readable names, and back, without silent casts or omissions."""

from typing import Any

import jax
import numpy as np

# The arrays of a tree by the path of their leaf, ".agent.core.cells[0].W". Of PRNG keys it holds
# the data.
Named = dict[str, Any]


def fetch(tree: Any) -> Any:
    """A copy on the host, as NumPy arrays. PRNG keys remain keys, on the first device."""

    def leaf(x: Any) -> Any:
        if _is_key(x):
            data = jax.device_put(np.array(jax.random.key_data(x)), jax.local_devices()[0])
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
        return np.array(x)

    return jax.tree.map(leaf, tree)


def describe(tree: Any) -> dict[str, dict[str, Any]]:
    """Shape and dtype of every leaf (arrays or `jax.ShapeDtypeStruct`s), in a form for JSON."""
    return {
        name: {"shape": list(leaf.shape), "dtype": str(leaf.dtype)} | ({"key": True} if _is_key(leaf) else {})
        for name, leaf in _flatten(tree).items()
    }


def to_named(tree: Any) -> Named:
    """The leaves that have elements, by name."""
    return {
        name: jax.random.key_data(leaf) if _is_key(leaf) else leaf for name, leaf in _flatten(tree).items() if leaf.size
    }


def named_structs(template: Any, sharding: Any) -> Named:
    """The result of `to_named(template)` as `jax.ShapeDtypeStruct`s; leaves without a sharding get `sharding`."""
    return {
        name: jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=getattr(leaf, "sharding", None) or sharding)
        for name, leaf in _flatten(template).items()
        if leaf.size
        for data in [jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf]
    }


def from_named(template: Any, named: Named) -> Any:
    """A tree like `template` with the arrays of `named`. The template may hold `jax.ShapeDtypeStruct`s."""

    def leaf(path: tuple, like: Any) -> Any:
        name = jax.tree_util.keystr(path)
        if not like.size:
            return jax.numpy.zeros(like.shape, like.dtype)
        if _is_key(like):
            return jax.random.wrap_key_data(named[name], impl=_key_impl(like))
        return named[name]

    return jax.tree_util.tree_map_with_path(leaf, template)


def mismatch(template: Any, found: dict[str, dict[str, Any]], partial: bool = False) -> str | None:
    """Why arrays with the description `found` do not fit a template, as half a line; None if they fit.

    With `partial`, the template may lack some of the leaves.
    """
    wanted = describe(template)
    complaints = [
        f"{name} is {_text(found[name])} where {_text(leaf)} is needed" if name in found else f"{name} is missing"
        for name, leaf in wanted.items()
        if found.get(name) != leaf
    ]
    if not partial:
        complaints += [f"{name} is not expected" for name in found if name not in wanted]
    if not complaints:
        return None
    return complaints[0] + (f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else "")


def _flatten(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _is_key(leaf: Any) -> bool:
    return jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _key_impl(like: Any) -> Any:
    impl: list[Any] = []  # jax knows the implementation of arrays only; while it is traced, `like` is one
    jax.eval_shape(lambda key: impl.append(jax.random.key_impl(key)), jax.ShapeDtypeStruct(like.shape, like.dtype))
    return impl[0]


def _text(leaf: dict[str, Any]) -> str:
    return f"{leaf['dtype']}[{', '.join(map(str, leaf['shape']))}]"
