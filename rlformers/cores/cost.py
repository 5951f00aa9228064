"""What a core costs, in numbers that depend on its program and not on a machine.

`costs.json` holds the costs of every built-in core at default options, width 64 and one layer, so
that listing the cores needs no jax. `python -m rlformers.cores.cost` rewrites the file, and a test
compares it.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rlformers.cores.core import Core
from rlformers.cores.registry import built_in, in_one_line, make_core
from rlformers.errors import UserError

SEGMENT = 128  # tokens
WIDTH = 64


class Cost(NamedTuple):
    """The cost of one core. An operation is a multiply-add of a product or an elementwise operation on one number."""

    state: int  # numbers that each environment carries
    parameters: int
    step: int  # operations of one `step`
    segment: int  # operations per token of a `scan` over `SEGMENT` tokens
    window: int | None  # how many tokens back an output can depend on; None means no limit


def cost(core: Core, width: int) -> Cost:
    """Count without running anything.

    Args:
        core: A core with inputs of size `width`.
        width: D.
    """
    state = jax.eval_shape(lambda core: core.initial_state(), core)
    xs, starts = jax.ShapeDtypeStruct((SEGMENT, width), jnp.float32), jax.ShapeDtypeStruct((SEGMENT,), bool)
    x, start = jax.ShapeDtypeStruct((width,), jnp.float32), jax.ShapeDtypeStruct((), bool)
    return Cost(
        num_floats(state),
        sum(leaf.size for leaf in jax.tree.leaves(core)),
        operations(jax.make_jaxpr(lambda c, *args: c.step(*args))(core, state, x, start).jaxpr),
        operations(jax.make_jaxpr(lambda c, *args: c.scan(*args))(core, state, xs, starts).jaxpr) // SEGMENT,
        core.window,
    )


def num_floats(state: Any) -> int:
    """Numbers in a state; a complex one counts as two."""
    return sum(leaf.size * (2 if jnp.iscomplexobj(leaf) else 1) for leaf in jax.tree.leaves(state))


def operations(jaxpr: Any) -> int:
    """Multiply-adds of products, plus one per number that an elementwise operation makes, in every turn of loops."""
    total = 0
    for eqn in jaxpr.eqns:
        made = sum(math.prod(v.aval.shape) for v in eqn.outvars if jnp.issubdtype(v.aval.dtype, jnp.inexact))
        inner = [getattr(p, "jaxpr", p) for p in eqn.params.values() if hasattr(getattr(p, "jaxpr", p), "eqns")]
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            total += made * math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
        elif inner:
            total += eqn.params.get("length", 1) * sum(operations(p) for p in inner)
        elif eqn.primitive.name not in MOVES:
            total += made
    return total


# Primitives that only move numbers.
MOVES = frozenset(
    ("reshape", "broadcast_in_dim", "transpose", "slice", "dynamic_slice", "dynamic_update_slice", "concatenate")
    + ("pad", "squeeze", "split", "gather", "scatter", "convert_element_type", "copy", "rev", "real", "imag")
    + ("complex", "select_n", "stop_gradient", "iota")
)


def measure(name: str, width: int = WIDTH, num_layers: int = 1) -> Cost:
    """The cost of a core at its default options."""
    core = jax.eval_shape(lambda key: make_core(name, width, num_layers, key=key), jax.random.key(0))
    return cost(core, width)


def measure_all(
    names: Iterable[str], width: int = WIDTH, num_layers: int = 1
) -> dict[str, dict[str, int | None] | str]:
    """The cost of each core, or one line that says why it cannot be built or counted, e.g. for a broken plug-in."""
    table: dict[str, dict[str, int | None] | str] = {}
    for name in names:
        try:
            with in_one_line(name, "cannot be measured"):
                table[name] = measure(name, width, num_layers)._asdict()
        except UserError as error:
            table[name] = str(error)
    return table


if __name__ == "__main__":
    lines = (f'  "{name}": {json.dumps(measure(name)._asdict())}' for name in built_in())
    Path(__file__).with_name("costs.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
