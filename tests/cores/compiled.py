"""`scan` of cores and layers as one program: by itself it would compile every operation alone."""

import jax


@jax.jit
def scan(module, state, xs, starts):
    """Of anything that has `scan(state, xs, starts)`."""
    return module.scan(state, xs, starts)
