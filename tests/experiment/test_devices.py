"""Several devices share the environments of a run, and a run may change its devices when it is resumed."""

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

from rlformers.command.main import main
from rlformers.config.compose import compose
from rlformers.experiment.checkpoints.store import saved_updates
from rlformers.experiment.program.build import build
from rlformers.experiment.program.devices import AXIS, choose_devices, layout, make_mesh
from rlformers.experiment.tracking import read_rows
from rlformers.experiment.training.run_record import Member

SMALL = ["ppo.num_envs=6", "ppo.num_steps=8", "ppo.num_minibatches=3", "ppo.update_epochs=2", "model.width=8"]
SMALL += ["env=popgym/PositionOnlyPendulumEasy", "ppo.normalize_observations=true", "log_every=1", "seeds=2"]


def test_what_has_an_axis_of_environments_is_divided():
    learner = build(compose([*SMALL, "core=gtrxl", "core.heads=2", "core.memory=4"])).learner
    state = jax.eval_shape(jax.vmap(learner.init), jax.vmap(jax.random.key)(jnp.arange(2)))
    shardings = layout(state, make_mesh(jax.devices()[:1]))
    divided = 0
    for (path, leaf), sharding in zip(
        jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(shardings), strict=True
    ):
        has_axis = leaf.shape[:2] == (2, 6)  # nothing else here has this size
        assert sharding.spec == (jax.P(None, AXIS) if has_axis else jax.P()), jax.tree_util.keystr(path)
        divided += has_axis
    assert divided >= 8


@pytest.mark.parametrize(
    "num_envs,host,chosen,reason",
    [
        (8, False, 4, None),
        (6, False, 1, "ppo.num_envs=6 is not a multiple of 4"),
        (8, True, 1, "popgym/RepeatPreviousEasy runs on the host"),
    ],
)
def test_one_device_is_used_where_not_all_can_share(num_envs, host, chosen, reason, monkeypatch):
    devices = jax.devices()[:1] * 4
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    monkeypatch.setattr("rlformers.experiment.program.devices.on_host", lambda env: host)
    config, lines = compose([f"ppo.num_envs={num_envs}", "ppo.num_minibatches=1"]), []
    assert choose_devices(config, SimpleNamespace(), lines.append) == devices[:chosen]
    assert lines == ([f"devices: one of 4 is used: {reason}"] if reason else [])
    monkeypatch.setattr(jax, "local_devices", lambda: devices[:1])
    assert choose_devices(config, SimpleNamespace(), lines.append) == devices[:1] and len(lines) == bool(reason)


def resume_for(run_dir: Path, last: int, monkeypatch) -> int:
    """Continue a run in this process until after an update."""
    after = Member.after

    def after_and_stop(self, update, *rest):
        after(self, update, *rest)
        if update == last:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Member, "after", after_and_stop)
    return main(["train", f"resume={run_dir}"])


@pytest.mark.slow
def test_from_one_device_to_two_and_back(tmp_path, monkeypatch, capsys):
    whole, moved = tmp_path / "whole", tmp_path / "moved"
    words = [*SMALL, "total_steps=576", "eval.every=96", "eval.episodes=2", "chunk_seconds=1e-9"]
    words += ["wandb.mode=disabled", "checkpoint.every=0", "checkpoint.keep_every=96"]
    assert main(["train", *words, f"run_dir={whole}"]) == 0
    shutil.copytree(whole, moved)
    for update in saved_updates(moved / "checkpoints"):
        if update > 4:
            shutil.rmtree(moved / "checkpoints" / str(update))

    command = [sys.executable, str(Path(__file__).with_name("two_devices.py")), "7", f"resume={moved}"]
    two = subprocess.run(command, capture_output=True, text=True)
    assert two.returncode == 75, two.stderr
    assert "continuing after 192 steps\nresume: from 1 to 2 devices: last digits may differ\n" in two.stdout
    assert len(set(json.loads((moved / "summary.json").read_text())["devices"])) == 2
    assert saved_updates(moved / "checkpoints")[-1] == 7

    capsys.readouterr()
    assert resume_for(moved, 10, monkeypatch) == 75
    assert "continuing after 336 steps\nresume: from 2 to 1 devices" in capsys.readouterr().out
    assert len(json.loads((moved / "summary.json").read_text())["devices"]) == 1
    expected, found = read_rows(whole / "metrics.jsonl")[: 2 * 10], read_rows(moved / "metrics.jsonl")
    assert len(found) == len(expected)
    for one, other in zip(expected, found, strict=True):
        for key in one.keys() - {"perf/steps_per_second"}:
            wanted = None if one[key] is None else pytest.approx(one[key], abs=1e-6, rel=1e-6)
            assert other[key] == wanted, (one["step"], key)
