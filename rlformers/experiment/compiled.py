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
from rlformers.experiment.sharding import choose_devices, divider, everywhere_on, layout, make_mesh, with_layout


class Compiled(NamedTuple):
    """All seeds of all runs are vmapped: leaves of states have a leading axis M = runs x seeds."""

    built: Built
    keys: PRNGKeyArray  # [M]: the seeds
    init: Callable[[PRNGKeyArray], TrainState]
    one: TrainState  # the state of one run, leaves [seeds, ...], as `jax.ShapeDtypeStruct`s that know their devices
    place: Callable[[TrainState], TrainState]  # puts a state onto the devices, as `update` takes it
    update: Callable[[TrainState], tuple[TrainState, dict[str, Any]]]  # donates the state
    devices: list[jax.Device]
    seconds: float  # that it took to build and compile


def compile_update(configs: Sequence[ExperimentConfig]) -> Compiled:
    """Build what the runs name and compile their update, for all devices that can share their environments.

    Args:
        configs: Of runs that differ in `config.NUMBERS` and in places only.
    """
    started = time.perf_counter()
    values = varying_numbers([each.ppo for each in configs])
    config = configs[0]
    built = build(config)
    devices = choose_devices(config, built.env)
    mesh = make_mesh(devices) if len(devices) > 1 else None
    keys = jax.vmap(jax.random.key)(jnp.tile(jnp.arange(config.seed, config.seed + config.seeds), len(configs)))
    numbers = {name: jnp.repeat(jnp.array(column), config.seeds) for name, column in values.items()}
    init = jax.vmap(built.learner.init)
    template, one = (jax.eval_shape(init, some) for some in (keys, keys[: config.seeds]))

    def update(state: Any, numbers: dict[str, Any]) -> Any:
        step = built.learner_with(numbers, divider(mesh) if mesh else None).update
        return (debugged(step) if config.debug else step)(state)

    if mesh is None:
        init, place = jax.jit(init), lambda states: states
        jitted = jax.jit(jax.vmap(update), donate_argnums=0)
    else:
        everywhere, states = everywhere_on(mesh), layout(template, mesh)
        init, place = jax.jit(init, out_shardings=states), lambda given: jax.device_put(given, states)
        one, numbers = with_layout(one, mesh), jax.device_put(numbers, everywhere)
        inputs = outputs = (states, everywhere)
        jitted = jax.jit(jax.vmap(update), donate_argnums=0, in_shardings=inputs, out_shardings=outputs)
    program = jitted.lower(template, numbers).compile()
    seconds = time.perf_counter() - started
    return Compiled(built, keys, init, one, place, lambda states: program(states, numbers), devices, seconds)
