"""`rlformers train ...` on two virtual devices, stopped after an update.

python two_devices.py UPDATE KEY=VALUE ...
"""

import os
import signal
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
os.environ["NPROC"] = "8"  # threads for two devices that wait for each other, even on few cores

import jax
import jax.numpy as jnp

from rlformers.command.main import main
from rlformers.experiment.program.devices import divider, make_mesh
from rlformers.experiment.training.run_record import Member
from rlformers.experiment.training.train import Program


def assert_divided(state):
    """Each device has one half of the environments, and all parameters."""
    for x in jax.tree.leaves((state.env_state, state.obs, state.start, state.memory)):
        assert [shard.data.shape[1] for shard in x.addressable_shards] == [x.shape[1] // 2] * 2
    assert all(x.sharding.is_fully_replicated for x in jax.tree.leaves(state.agent))


def assert_minibatches_are_divided(mesh):
    even, odd = jax.jit(lambda *trees: [divider(mesh)(tree, 1) for tree in trees])(jnp.zeros((3, 4)), jnp.zeros((3, 5)))
    assert [shard.data.shape for shard in even.addressable_shards] == [(3, 2)] * 2 and odd.shape == (3, 5)


if __name__ == "__main__":
    last, words = int(sys.argv[1]), sys.argv[2:]
    after, train, sent = Member.after, Program.train, []

    def after_and_stop(self, update, *rest):
        after(self, update, *rest)
        if update == last and not sent:  # a second signal would end it at once
            sent.append(os.kill(os.getpid(), signal.SIGTERM))

    def train_and_look(self, stop):
        assert_divided(*self.states)
        outcome = train(self, stop)
        assert_divided(*self.states)
        return outcome

    Member.after, Program.train = after_and_stop, train_and_look
    assert_minibatches_are_divided(make_mesh(jax.devices()))
    sys.exit(main(["train", *words]))
