"""Compiler options for programs that run once or briefly, where compiling is most of the work.

Level 0 would save a little more, but it recomputes every value that a fused loop uses again: a step
of playground/SwimmerSwimmer6 took 2000 times as long (14 s).
"""

import jax

# Empty if the user, or a test, has asked jax to optimize even less.
IN_A_HURRY: dict[str, bool | int] = (
    {}
    if jax.config.read("jax_disable_most_optimizations")
    else {"xla_backend_optimization_level": 1, "xla_llvm_disable_expensive_passes": True}
)
