"""Compiler options for programs that run once, or for a moment, so that compiling them is most of the work.

Level 0 would save some more, but what a fused loop uses twice it computes twice, and so on: a step of
playground/SwimmerSwimmer6 took 2000 times as long (14 s).
"""

import jax

# Nothing where the user, or a test, has asked for less than that.
IN_A_HURRY: dict[str, bool | int] = (
    {}
    if jax.config.read("jax_disable_most_optimizations")
    else {"xla_backend_optimization_level": 1, "xla_llvm_disable_expensive_passes": True}
)
