"""Chooses the devices for a training, and distributes its state over them.

The axis of environments is divided among all local devices. Seeds stay vmapped. Everything without
that axis, such as parameters, is on every device. XLA adds the communication. Random numbers do not
depend on the layout, so a run may continue on other devices: only the last digits of its numbers
differ, because sums have another order.
"""

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from rlformers.agents.ppo import Divide, TrainState
from rlformers.config import ExperimentConfig
from rlformers.envs.adapters.host import on_host
from rlformers.experiment.run_files.provenance import num_cores

AXIS = "environments"


def choose_devices(config: ExperimentConfig, env: Any, report: Callable[[str], None] = print) -> list[jax.Device]:
    """All local devices, or only the first one if they cannot share the environments.

    Args:
        config: The configuration of the run.
        env: Its environment.
        report: If only one of several devices is used, gets a line that says why.
    """
    devices = jax.local_devices()
    reason = None
    if on_host(env):
        reason = f"{config.env} runs on the host"
    elif config.ppo.num_envs % len(devices):
        reason = f"ppo.num_envs={config.ppo.num_envs} is not a multiple of {len(devices)}"
    if reason is None or len(devices) == 1:
        return devices
    report(f"devices: one of {len(devices)} is used: {reason}")
    return devices[:1]


def make_mesh(devices: list[jax.Device]) -> Mesh:
    """The mesh that divides the environments. XLA propagates layouts (`AxisType.Auto`)."""
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def everywhere_on(mesh: Mesh) -> NamedSharding:
    """The sharding of values that are the same on every device."""
    return NamedSharding(mesh, P())


def layout(state: TrainState, mesh: Mesh) -> TrainState:
    """Shardings of the leaves of a state, arrays or `jax.ShapeDtypeStruct`s with leading axes [seeds, environments]."""
    whole, divided = everywhere_on(mesh), NamedSharding(mesh, P(None, AXIS))
    fields = {
        name: jax.tree.map(lambda _: divided, getattr(state, name)) for name in ("env_state", "obs", "start", "memory")
    }
    everywhere = jax.tree.map(lambda _: whole, state)
    normalizers = everywhere.normalizers._replace(discounted_return=divided)
    return everywhere._replace(normalizers=normalizers, **fields)


def with_layout(state: TrainState, mesh: Mesh) -> TrainState:
    """`jax.ShapeDtypeStruct`s of the leaves of a state, with their shardings, for `store.read`."""
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state, layout(state, mesh)
    )


def divider(mesh: Mesh) -> Divide:
    """Divides the sequences of a minibatch among the devices, if each device gets the same number.

    Otherwise XLA lets every device compute the whole minibatch, because its sequences come from all
    devices.
    """

    def divide(tree: Any, axis: int) -> Any:
        sharding = NamedSharding(mesh, P(*[None] * axis, AXIS))
        return jax.tree.map(
            lambda x: x if x.shape[axis] % mesh.size else jax.lax.with_sharding_constraint(x, sharding), tree
        )

    return divide


def device_name() -> str:
    """The name of the accelerator, or of the processor with the number of cores that may be used."""
    first = jax.devices()[0]
    if first.platform != "cpu":
        return f"{jax.local_device_count()} x {first.device_kind}"
    return f"{_processor()}, {num_cores()} cores"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or not x86
        return platform.processor() or platform.machine()
