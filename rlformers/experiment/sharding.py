"""Which devices compute a training, and what of its state lies where.

Agents (the seeds of all runs of a program) are divided among all local devices if that leaves the same number to each:
none needs anything of another. Else the axis of environments is divided; everything without that axis, such as
parameters, is then on every device, and XLA adds what has to be exchanged. Random numbers do not depend on the layout:
a run may go on with other devices, and its numbers are the same but for last digits, since sums have another order.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from rlformers.agents.ppo import Divide, TrainState
from rlformers.config import ExperimentConfig
from rlformers.envs.host import on_host
from rlformers.experiment import processors

AGENTS, ENVIRONMENTS = "agents", "environments"


def choose_mesh(config: ExperimentConfig, num_agents: int, env: Any, report: Callable[[str], None] = print) -> Mesh:
    """The devices, and what is divided among them, the mesh's only axis.

    Args:
        config: Of the run.
        num_agents: M, seeds of all runs.
        env: The environment.
        report: Gets a line that says why only one device is used, if there are more.
    """
    devices, host = jax.local_devices(), on_host(env)
    if processors.are_devices():  # without threads to wait for each other: agents only
        devices = devices[: 1 if host else math.gcd(len(devices), num_agents)]
    count, num_envs = len(devices), config.ppo.num_envs
    if host:
        reason = f"{config.env} lives on the host"
    elif num_agents % count == 0:
        return make_mesh(devices, AGENTS)
    elif num_envs % count == 0:
        return make_mesh(devices, ENVIRONMENTS)
    else:
        reason = f"neither seeds={num_agents} nor ppo.num_envs={num_envs} is a multiple of {count}"
    if count > 1:
        report(f"devices: one of {count} is used: {reason}")
    return make_mesh(devices[:1], AGENTS)


def make_mesh(devices: list[jax.Device], axis: str) -> Mesh:
    """The mesh over which an axis is divided. XLA propagates layouts (`AxisType.Auto`)."""
    return Mesh(np.array(devices), (axis,), axis_types=(AxisType.Auto,))


def layout(state: TrainState, mesh: Mesh) -> TrainState:
    """Shardings of a state's leaves, arrays or `jax.ShapeDtypeStruct`s with leading axes [agents, environments]."""
    if AGENTS in mesh.axis_names:
        return jax.tree.map(lambda _: NamedSharding(mesh, P(AGENTS)), state)
    divided = NamedSharding(mesh, P(None, ENVIRONMENTS))
    fields = {
        name: jax.tree.map(lambda _: divided, getattr(state, name)) for name in ("env_state", "obs", "start", "memory")
    }
    everywhere = jax.tree.map(lambda _: NamedSharding(mesh, P()), state)
    normalizers = everywhere.normalizers._replace(discounted_return=divided)
    return everywhere._replace(normalizers=normalizers, **fields)


def layout_of_rest(mesh: Mesh) -> NamedSharding:
    """That of metrics, and of numbers that differ between agents: [agents, ...]."""
    return NamedSharding(mesh, P(AGENTS) if AGENTS in mesh.axis_names else P())


def with_layout(state: TrainState, mesh: Mesh) -> TrainState:
    """`jax.ShapeDtypeStruct`s like the leaves of one run's state that know where these lie, for `checkpoint.read`.

    Where agents are divided, those of a run may be fewer than there are devices; then it lies on the first one.
    """
    if AGENTS in mesh.axis_names:
        return state
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state, layout(state, mesh)
    )


def divided(vmapped: Callable, mesh: Mesh) -> Callable:
    """A vmapped update of which each device computes its own agents, where these are divided."""
    if AGENTS not in mesh.axis_names:
        return vmapped
    # Not checked (`check_vma`): whether values vary over devices, which scans would have to be told of what they carry.
    return jax.shard_map(vmapped, mesh=mesh, in_specs=P(AGENTS), out_specs=P(AGENTS), check_vma=False)


def divider(mesh: Mesh) -> Divide | None:
    """Lays the axis of sequences of a minibatch over the devices, if there are as many on each; None: not needed.

    Left to itself, XLA has every device compute the whole minibatch: its sequences are drawn from all of them.
    """
    if AGENTS in mesh.axis_names:
        return None

    def divide(tree: Any, axis: int) -> Any:
        sharding = NamedSharding(mesh, P(*[None] * axis, ENVIRONMENTS))
        return jax.tree.map(
            lambda x: x if x.shape[axis] % mesh.size else jax.lax.with_sharding_constraint(x, sharding), tree
        )

    return divide
