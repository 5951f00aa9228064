"""The products in a program."""

from collections import Counter


def products(jaxpr):
    """The number of products by operand types and precision; a loop counts once."""
    found = Counter()
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in ("dot_general", "conv_general_dilated"):
            precision = eqn.params["precision"]
            assert precision is None or precision[0] == precision[1]
            operands = "x".join(v.aval.dtype.name for v in eqn.invars)
            found[operands, "DEFAULT" if precision is None else precision[0].name, eqn.outvars[0].aval.dtype.name] += 1
        for value in eqn.params.values():
            for inner in programs(value):
                found += products(inner)
    return found


def programs(value):
    """Those in a parameter of an operation: loops, branches, calls."""
    if hasattr(value, "eqns"):
        yield value
    elif hasattr(value, "jaxpr"):
        yield value.jaxpr
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from programs(inner)
