"""The program that makes the updates of one run, or of several that differ in numbers only."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from rlformers.agents.ppo import TrainState
from rlformers.config import ExperimentConfig, varying_numbers
from rlformers.experiment.build import Built, build
from rlformers.experiment.guard import debugged
from rlformers.experiment.sharding import AGENTS, choose_mesh, divided, divider, layout, layout_of_rest, with_layout

IN_A_HURRY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


class Compiled(NamedTuple):
    """All seeds of all runs are vmapped: leaves of states have a leading axis M = runs x seeds."""

    built: Built
    keys: PRNGKeyArray  # [M]: the seeds
    init: Callable[[PRNGKeyArray], TrainState]
    one: TrainState  # the state of one run, leaves [seeds, ...], as `jax.ShapeDtypeStruct`s that know their devices
    place: Callable[[TrainState], TrainState]  # puts a state onto the devices, as `update` takes it
    update: Callable[[TrainState], tuple[TrainState, dict[str, Any]]]  # donates the state
    devices: list[jax.Device]
    agents_divided: bool  # among the devices; else their environments are
    seconds: float  # that it took to build and compile


def compile_update(configs: Sequence[ExperimentConfig]) -> Compiled:
    """Build what the runs name and compile their update, for all devices that can share their agents or environments.

    Args:
        configs: Of runs that differ in `config.NUMBERS` and in places only.
    """
    started = time.perf_counter()
    values = varying_numbers([each.ppo for each in configs])
    config = configs[0]
    built = build(config)
    keys = jax.vmap(jax.random.key)(jnp.tile(jnp.arange(config.seed, config.seed + config.seeds), len(configs)))
    numbers = {name: jnp.repeat(jnp.array(column), config.seeds) for name, column in values.items()}
    mesh = choose_mesh(config, len(keys), built.env)
    divide = divider(mesh)
    init = jax.vmap(built.learner.init)
    template, one = (jax.eval_shape(init, some) for some in (keys, keys[: config.seeds]))

    def update(state: Any, numbers: dict[str, Any]) -> Any:
        step = built.learner_with(numbers, divide).update
        return (debugged(step) if config.debug else step)(state)

    # On the first device alone: where devices share threads, factorisations of matrices deadlock (cores/layers.py). And
    # compiled in a hurry, since it runs once: well compiled it would take 4 seconds longer, and more with more agents.
    first, vmapped = jax.jit(init, compiler_options=IN_A_HURRY), jax.vmap(update)
    if mesh.size == 1:
        place, jitted = _as_it_is, jax.jit(vmapped, donate_argnums=0)
    else:
        states, rest = layout(template, mesh), layout_of_rest(mesh)
        place, one = partial(jax.device_put, device=states), with_layout(one, mesh)
        numbers, both = jax.device_put(numbers, rest), (states, rest)
        jitted = jax.jit(divided(vmapped, mesh), donate_argnums=0, in_shardings=both, out_shardings=both)
    program = jitted.lower(template, numbers).compile()
    seconds = time.perf_counter() - started
    devices = list(mesh.devices.flat)
    return Compiled(
        built,
        keys,
        init=lambda keys: place(first(keys)),
        one=one,
        place=place,
        update=lambda states: program(states, numbers),
        devices=devices,
        agents_divided=len(devices) > 1 and AGENTS in mesh.axis_names,
        seconds=seconds,
    )


def _as_it_is(given: Any) -> Any:
    return given
