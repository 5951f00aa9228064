"""Several devices share the agents or environments of a run, which may change its devices when it is resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from rlformers.cli import main
from rlformers.compose import compose
from rlformers.experiment.build import build
from rlformers.experiment.checkpoint import saved_updates
from rlformers.experiment.member import Member
from rlformers.experiment.sharding import AGENTS, ENVIRONMENTS, choose_mesh, layout, make_mesh
from rlformers.experiment.sinks import read_rows

SMALL = ["ppo.num_envs=6", "ppo.num_steps=8", "ppo.num_minibatches=3", "ppo.update_epochs=2", "model.width=8"]
SMALL += ["env=popgym/PositionOnlyPendulumEasy", "ppo.normalize_observations=true", "log_every=1"]


def test_what_has_an_axis_of_environments_is_divided():
    learner = build(compose([*SMALL, "core=gtrxl", "core.heads=2", "core.memory=4"])).learner
    state = jax.eval_shape(jax.vmap(learner.init), jax.vmap(jax.random.key)(jnp.arange(2)))
    shardings = layout(state, make_mesh(jax.devices()[:1], ENVIRONMENTS))
    divided = 0
    for (path, leaf), sharding in zip(
        jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(shardings), strict=True
    ):
        has_axis = leaf.shape[:2] == (2, 6)  # nothing else here has this size
        assert sharding.spec == (jax.P(None, ENVIRONMENTS) if has_axis else jax.P()), jax.tree_util.keystr(path)
        divided += has_axis
    assert divided >= 8
    assert {each.spec for each in jax.tree.leaves(layout(state, make_mesh(jax.devices()[:1], AGENTS)))} == {
        jax.P(AGENTS)
    }


@pytest.mark.parametrize(
    "agents,num_envs,host,axis,reason",
    [
        (8, 6, False, AGENTS, None),
        (6, 8, False, ENVIRONMENTS, None),
        (6, 6, False, None, "neither seeds=6 nor ppo.num_envs=6 is a multiple of 4"),
        (8, 8, True, None, "popgym/RepeatPreviousEasy lives on the host"),
    ],
)
def test_what_several_devices_can_share(agents, num_envs, host, axis, reason, monkeypatch):
    devices, config, lines = jax.devices()[:1] * 4, compose([f"ppo.num_envs={num_envs}", "ppo.num_minibatches=1"]), []
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    monkeypatch.setattr("rlformers.experiment.sharding.on_host", lambda env: host)
    mesh = choose_mesh(config, agents, SimpleNamespace(), lines.append)
    assert mesh.axis_names == (axis or AGENTS,) and mesh.size == (4 if axis else 1)
    assert lines == ([f"devices: one of 4 is used: {reason}"] if reason else [])
    monkeypatch.setattr(jax, "local_devices", lambda: devices[:1])
    assert choose_mesh(config, agents, SimpleNamespace(), lines.append).size == 1 and len(lines) == bool(reason)


@pytest.mark.parametrize("agents,host,used", [(8, False, 4), (6, False, 2), (3, False, 1), (8, True, 1)])
def test_cores_that_count_as_devices_share_agents_only(agents, host, used, monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1] * 4)
    monkeypatch.setattr("rlformers.experiment.processors.are_devices", lambda: True)
    monkeypatch.setattr("rlformers.experiment.sharding.on_host", lambda env: host)
    mesh = choose_mesh(compose(["ppo.num_envs=8"]), agents, SimpleNamespace(), pytest.fail)
    assert mesh.axis_names == (AGENTS,) and mesh.size == used


def resume_for(run_dir: Path, last: int, monkeypatch) -> int:
    """Go on with a run in this process until after an update."""
    after = Member.after

    def after_and_stop(self, update, *rest):
        after(self, update, *rest)
        if update == last:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Member, "after", after_and_stop)
    return main(["train", f"resume={run_dir}"])


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3])  # two devices share two agents; of three agents, their environments
def test_from_one_device_to_two_and_back(seeds, tmp_path, monkeypatch, capsys):
    whole, moved = tmp_path / "whole", tmp_path / "moved"
    words = [*SMALL, f"seeds={seeds}", "total_steps=576", "eval.every=96", "eval.episodes=2", "chunk_seconds=1e-9"]
    words += ["wandb.mode=disabled", "checkpoint.every=0", "checkpoint.keep_every=96"]
    assert main(["train", *words, f"run_dir={whole}"]) == 0
    shutil.copytree(whole, moved)
    for update in saved_updates(moved / "checkpoints"):
        if update > 4:
            shutil.rmtree(moved / "checkpoints" / str(update))

    command = [sys.executable, str(Path(__file__).with_name("two_devices.py")), "7", f"resume={moved}"]
    two = subprocess.run(command, capture_output=True, text=True)
    assert two.returncode == 75, two.stderr
    assert "going on after 192 steps\nresume: from 1 to 2 devices: last digits may differ\n" in two.stdout
    assert len(set(json.loads((moved / "summary.json").read_text())["devices"])) == 2
    assert saved_updates(moved / "checkpoints")[-1] == 7

    capsys.readouterr()
    assert resume_for(moved, 10, monkeypatch) == 75
    assert "going on after 336 steps\nresume: from 2 to 1 devices" in capsys.readouterr().out
    assert len(json.loads((moved / "summary.json").read_text())["devices"]) == 1
    expected, found = read_rows(whole / "metrics.jsonl")[: seeds * 10], read_rows(moved / "metrics.jsonl")
    assert len(found) == len(expected)
    for one, other in zip(expected, found, strict=True):
        for key in one.keys() - {"perf/steps_per_second"}:
            wanted = None if one[key] is None else pytest.approx(one[key], abs=1e-6, rel=1e-6)
            assert other[key] == wanted, (one["step"], key)
