"""`scan` of cores and layers as one program, which jax would else compile operation by operation."""

import jax


@jax.jit
def scan(module, state, xs, starts):
    """Of anything that has `scan(state, xs, starts)`."""
    return module.scan(state, xs, starts)
