"""The program that makes the updates of one run, or of several that differ in numbers only."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from rlformers.agents.ppo import TrainState
from rlformers.config import ExperimentConfig, varying_numbers
from rlformers.experiment.build import Built, build
from rlformers.experiment.guard import debugged


class Compiled(NamedTuple):
    """All seeds of all runs are vmapped: leaves of states have a leading axis M = runs x seeds."""

    built: Built
    keys: PRNGKeyArray  # [M]: the seeds
    init: Callable[[PRNGKeyArray], TrainState]
    one: TrainState  # the state of one run, leaves [seeds, ...], as `jax.ShapeDtypeStruct`s
    update: Callable[[TrainState], tuple[TrainState, dict[str, Any]]]  # donates the state
    seconds: float  # that it took to build and compile


def compile_update(configs: Sequence[ExperimentConfig]) -> Compiled:
    """Build what the runs name and compile their update.

    Args:
        configs: Of runs that differ in `config.NUMBERS` and in places only.
    """
    started = time.perf_counter()
    values = varying_numbers([each.ppo for each in configs])
    config = configs[0]
    built = build(config)
    keys = jax.vmap(jax.random.key)(jnp.tile(jnp.arange(config.seed, config.seed + config.seeds), len(configs)))
    init = jax.jit(jax.vmap(built.learner.init))
    numbers = {name: jnp.repeat(jnp.array(column), config.seeds) for name, column in values.items()}

    def update(state: Any, numbers: dict[str, Any]) -> Any:
        step = built.learner_with(numbers).update
        return (debugged(step) if config.debug else step)(state)

    program = jax.jit(jax.vmap(update), donate_argnums=0).lower(jax.eval_shape(init, keys), numbers).compile()
    one = jax.eval_shape(init, keys[: config.seeds])
    seconds = time.perf_counter() - started
    return Compiled(built, keys, init, one, lambda states: program(states, numbers), seconds)
