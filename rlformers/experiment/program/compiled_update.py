"""The program that makes the updates of one run, or of several runs that differ only in numbers.

Agents are the seeds of all runs, M = runs x seeds. An accelerator computes all of them together in
one vmapped program. A processor computes each agent with a program of its own, as many at a time as
it has cores: batching small matrix products does not make them faster there, and one program keeps
little more than one core busy. (With the defaults of `rlformers train`, 8 agents and 2 cores, an
update takes 1.0 s, vmapped 1.7 s. Very small networks would be faster vmapped.) The program of one
agent computes the same numbers as a run with this agent alone, to the last digit.

`seeds_at_a_time` limits how many agents are computed together. On an accelerator they are then
vmapped in groups of that size, one group after the other. By default a group is as large as the
memory allows, as far as that is known. The group of an agent changes only the last digits of its
numbers, because XLA may add in another order.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from rlformers.agents.ppo import TrainState
from rlformers.config import ExperimentConfig
from rlformers.config.ppo import Numbers, check_alike
from rlformers.envs.adapters.host import on_host
from rlformers.errors import UserError
from rlformers.experiment.checkpoints.named_arrays import fetch
from rlformers.experiment.program.build import Built, build
from rlformers.experiment.program.devices import (
    choose_devices,
    device_name,
    divider,
    everywhere_on,
    layout,
    make_mesh,
    with_layout,
)
from rlformers.experiment.run_files.provenance import num_cores
from rlformers.experiment.training.nan_guard import debugged, keeping_the_last_good
from rlformers.quick_compile import IN_A_HURRY

# States of the groups of agents in their order, leaves [agents, ...]: one group of all M, or M
# groups of one.
States = list[TrainState]


class Compiled(NamedTuple):
    """The compiled program that trains M agents."""

    built: Built
    keys: PRNGKeyArray  # [M]: the seeds
    init: Callable[[PRNGKeyArray], States]
    one: TrainState  # the state of one run, leaves [seeds, ...], as `jax.ShapeDtypeStruct`s with their devices
    place: Callable[[TrainState], States]  # puts a state, leaves [M, ...], onto the devices for `update`
    update: Callable[[States], tuple[States, list[dict[str, Any]]]]  # donates the states; metrics of each group
    devices: list[jax.Device]
    group_size: int  # largest number of agents that are vmapped together
    seconds: float  # time to build and compile


def compile_update(configs: Sequence[ExperimentConfig], report: Callable[[str], None] = lambda line: None) -> Compiled:
    """Build the objects of the runs and compile their update, for all devices that can share their environments.

    Args:
        configs: The configurations of the runs, which differ only in `Numbers` and directories.
        report: Gets a line that says what is about to be compiled.
    """
    started = time.perf_counter()
    check_alike([each.ppo for each in configs])
    config = configs[0]
    built = build(config)
    devices = choose_devices(config, built.env)
    mesh = make_mesh(devices) if len(devices) > 1 else None
    keys = jax.vmap(jax.random.key)(jnp.tile(jnp.arange(config.seed, config.seed + config.seeds), len(configs)))
    # Arguments of the program, also for a single run: with another learning rate it need not be
    # compiled again.
    rows = [Numbers.of(each.ppo, each.num_updates) for each in configs]
    columns = Numbers(*(np.repeat(np.asarray(column, np.float32), config.seeds) for column in zip(*rows, strict=True)))
    init = jax.vmap(built.learner.init)
    one = jax.eval_shape(init, keys[: config.seeds])

    num_parameters = sum(x.size for x in jax.tree.leaves(one.agent)) // config.seeds
    report(f"{device_name()}; {num_parameters:,} parameters; compiling")
    alone = one_by_one(devices, built.env)

    def update(state: Any, numbers: Numbers) -> Any:
        step = built.learner_with(numbers, divider(mesh) if mesh else None, vmapped=not alone).update
        return keeping_the_last_good(debugged(step) if config.debug else step)(state)

    def update_alone(states: Any, numbers: Numbers) -> Any:
        """The update of a group of one, without `vmap`, which would compute both sides of every condition."""
        one = jax.tree.map(lambda x: x[0], (states, numbers))
        return jax.tree.map(lambda x: x[None], update(*one))

    update_group = update_alone if alone else jax.vmap(update)
    limit = config.seeds_at_a_time or len(keys)
    if limit < len(keys) and on_host(built.env):
        raise UserError(
            f"seeds_at_a_time: need 0, got {limit}: {config.env} runs on the host, where all {len(keys)} agents act "
            "in one call"
        )
    if mesh is None:
        # Optimizing the program of the first state would take seconds, and more with more agents.
        first, put = jax.jit(init, compiler_options=IN_A_HURRY), partial(jax.device_put, may_alias=False)
        jitted = jax.jit(update_group, donate_argnums=0)
    else:
        everywhere, states = everywhere_on(mesh), layout(one, mesh)

        first, put = jax.jit(init, out_shardings=states), partial(jax.device_put, device=states)
        one = with_layout(one, mesh)
        inputs = outputs = (states, everywhere)
        jitted = jax.jit(update_group, donate_argnums=0, in_shardings=inputs, out_shardings=outputs)

    def compiled_for(size: int) -> Callable:
        """The program of a group of `size` agents."""
        if jax.config.jax_disable_jit:  # type: ignore[attr-defined]  # without jit nothing can be compiled in advance
            return update_group
        shapes = jax.eval_shape(init, keys[:size]), jax.tree.map(lambda column: jnp.array(column[:size]), columns)
        return jitted.lower(*shapes).compile()

    size, program = 1 if alone else min(limit, len(keys)), None
    while program is None:
        program = compiled_for(size)
        divisible = size > 1 and not config.seeds_at_a_time and not on_host(built.env)
        if divisible and (lack := memory_lacking(program, devices[0], len(keys) / size)):
            size, program = -(-size // 2), None
            report(f"{lack}; trying groups of {size} seeds")
    groups = [slice(at, at + size) for at in range(0, len(keys), size)]
    numbers = [jax.tree.map(lambda column, group=group: jnp.array(column[group]), columns) for group in groups]
    if mesh is not None:
        numbers = jax.device_put(numbers, everywhere_on(mesh))
    rest = len(keys) % size
    programs = [program] * (len(groups) - bool(rest)) + ([compiled_for(rest)] if rest else [])
    seconds = time.perf_counter() - started

    def place(state: TrainState) -> States:
        if len(groups) == 1:
            return [put(state)]
        fetched = fetch(state)
        return [put(jax.tree.map(lambda x, group=group: x[group], fetched)) for group in groups]

    return Compiled(
        built,
        keys,
        init=lambda keys: [first(keys[group]) for group in groups],
        one=one,
        place=place,
        update=_side_by_side(programs, numbers, limit if alone else 1),
        devices=devices,
        group_size=size,
        seconds=seconds,
    )


def one_by_one(devices: Sequence[jax.Device], env: Any) -> bool:
    """Whether each agent is its own group. Environments on the host expect all agents in one call."""
    return len(devices) == 1 and devices[0].platform == "cpu" and not on_host(env)


def memory_lacking(program: Any, device: Any, times: float) -> str | None:
    """Why a compiled update does not fit into the memory of a device; None if it fits or nothing is known.

    Args:
        program: The update of a group of agents, whose states are its arguments.
        device: The device that runs it.
        times: Number of such groups; the states of all of them stay on the device.
    """
    stats = device.memory_stats()
    needs = program.memory_analysis() if hasattr(program, "memory_analysis") else None  # without jit there is none
    if not stats or "bytes_limit" not in stats or needs is None:
        return None
    states = needs.argument_size_in_bytes * times
    more = needs.temp_size_in_bytes + needs.output_size_in_bytes - needs.alias_size_in_bytes
    free = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    if states + more <= free:
        return None
    return f"an update needs {(states + more) / 1e9:.1f} GB, {device.device_kind} has {free / 1e9:.1f} GB"


def _side_by_side(
    programs: Sequence[Callable], numbers: Sequence[Any], limit: int
) -> Callable[[States], tuple[States, list[dict[str, Any]]]]:
    """The update of all groups of agents, at most `limit` at a time and at most one per core."""
    workers = min(len(numbers), num_cores(), limit)
    pool = ThreadPoolExecutor(workers, "update") if workers > 1 else None

    def one(program: Callable, state: TrainState, numbers: Any) -> Any:
        # jax computes what a thread starts in order, so each thread waits for its own result.
        return jax.block_until_ready(program(state, numbers))

    def update(states: States) -> tuple[States, list[dict[str, Any]]]:
        if len(programs) == 1:
            done = [programs[0](states[0], numbers[0])]
        else:
            done = list((pool.map if pool else map)(one, programs, states, numbers))
        return [state for state, _ in done], [metrics for _, metrics in done]

    return update
