"""Goes on with a checkpoint on two virtual devices, the environments divided between them, and saves what comes out.

python two_devices.py RUN_DIR UPDATE COUNT DIRECTORY
"""

import os
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
os.environ["NPROC"] = "8"  # threads for two devices that wait for each other, however few cores there are

from pathlib import Path

import jax
import jax.numpy as jnp

from rlformers.compose import load
from rlformers.experiment.build import build
from rlformers.experiment.checkpoint import CheckpointStore, good_checkpoints, read

P = jax.sharding.PartitionSpec


PER_ENV = ("env_state", "obs", "start", "memory")  # [seeds, environments, ...]


def divided(state, mesh):
    """The state as structs whose axis of environments lies over both devices."""

    def lay_out(tree, spec):
        sharding = jax.sharding.NamedSharding(mesh, spec)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)

    fields = {
        name: lay_out(tree, P(None, "data") if name in PER_ENV else P()) for name, tree in state._asdict().items()
    }
    return state._replace(**fields)


if __name__ == "__main__":
    run_dir, update, count, directory = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    config = load(run_dir / "config.yaml")
    learner = build(config).learner
    keys = jax.vmap(jax.random.key)(jnp.arange(config.seed, config.seed + config.seeds))
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    template = divided(jax.eval_shape(jax.vmap(learner.init), keys), mesh)
    state = read(next(c for c in good_checkpoints(run_dir / "checkpoints") if c.update == update), template)
    assert len(state.obs.sharding.device_set) == 2 and not state.obs.sharding.is_fully_replicated
    step = jax.jit(jax.vmap(learner.update))
    for _ in range(count):
        state, _ = jax.block_until_ready(step(state))
    store = CheckpointStore(directory, keep=1)
    store.save(update + count, state, {})
    store.wait()
    store.close()
