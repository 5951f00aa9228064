"""How much a traced program computes, counted without running it."""

from collections.abc import Callable
from typing import Any

import jax

# The assumed number of turns of a loop whose length is not known before it runs.
UNKNOWN_TURNS = 10


def operations(jaxpr: Any, cost: Callable[[Any], int]) -> int:
    """The cost of all equations of a program. Loops are multiplied out; of branches, the dearest counts.

    Args:
        jaxpr: The program, `jax.make_jaxpr(f)(...).jaxpr`.
        cost: The cost of one equation that holds no other program.
    """
    total = 0
    for eqn in jaxpr.eqns:
        inner = [operations(program, cost) for program in _programs(eqn)]
        if not inner:
            total += cost(eqn)
        elif eqn.primitive.name == "cond":
            total += max(inner)
        else:
            turns = UNKNOWN_TURNS if eqn.primitive.name == "while" else eqn.params.get("length", 1)
            total += turns * sum(inner)
    return total


def _programs(eqn: Any) -> list[Any]:
    """The programs that an equation runs."""
    values = jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_program)
    return [getattr(value, "jaxpr", value) for value in values if _is_program(value)]


def _is_program(value: Any) -> bool:
    return hasattr(getattr(value, "jaxpr", value), "eqns")
