"""The disk is full when the last state is saved: the run is not finished, and says so in one line."""

import errno
import json
import os
import subprocess
import sys

import pytest

from rlformers.command.main import main
from rlformers.config.compose import compose
from rlformers.experiment.checkpoints.kept_rows import finished
from rlformers.experiment.checkpoints.store import CheckpointStore, saved_updates
from rlformers.experiment.sweeps.record import Job, create, results

SMALL = ["core=gru", "ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", "ppo.update_epochs=1"]
SMALL += ["model.width=8", "total_steps=64", "log_every=1", "wandb.mode=disabled"]


def test_a_run_whose_last_state_was_not_saved_is_not_finished(tmp_path, monkeypatch, capsys):
    run_dir = tmp_path / "run"
    command = ["train", *SMALL, f"run_dir={run_dir}"]

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(CheckpointStore, "_write", full)
        assert main(command) == 1
    complaint = f"checkpoint: cannot write {run_dir}/checkpoints/4: No space left on device"
    captured = capsys.readouterr()
    assert captured.err == f"rlformers: {complaint}\n" and captured.out.count(complaint) == 1
    summary = json.loads((run_dir / "summary.json").read_text())
    assert not summary["completed"] and summary["total_steps"] == 64 and summary["save_failure"] == complaint
    # Once there is room, the same command finishes the run.
    assert main(command) == 0
    assert "is finished" not in capsys.readouterr().out
    assert saved_updates(run_dir / "checkpoints") == [4]
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["completed"] and summary["save_failure"] is None


@pytest.mark.parametrize("steps,is_finished", [([], False), ([16, 48], False), ([48, 64], True)])
def test_what_has_no_last_row_is_not_finished_whatever_its_summary_says(steps, is_finished, tmp_path):
    config = compose([*SMALL, f"run_dir={tmp_path / 'sweep'}"])
    sweep, (job,) = create([Job("core=gru", config)], tmp_path / "sweep", [])
    run_dir = tmp_path / "sweep" / "0"
    run_dir.mkdir()
    summary = {"completed": True, "total_steps": 64, "seeds": [0], "final_return": {"per_seed": [1.0]}}
    (run_dir / "summary.json").write_text(json.dumps(summary))
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps({"seed": 0, "step": step}) + "\n" for step in steps))
    assert (finished(run_dir, job.config) is not None) == is_finished
    assert [result.status for result in results(sweep, [job])] == ["finished" if is_finished else "waiting"]


SAVE_TWICE = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp
from rlformers.experiment.checkpoints.store import CheckpointStore

store = CheckpointStore(Path(sys.argv[1]), keep=2)
many = {str(i): jax.random.normal(jax.random.key(i), (100, 100)) for i in range(8)}
for update in (1, 2):
    store.save(update, many, {})
store.close()
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 KB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_one_line_per_save(small_disk):
    command = [sys.executable, "-c", SAVE_TWICE, str(small_disk / "checkpoints")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        f"checkpoint: cannot write {small_disk}/checkpoints/{update}: No space left on device" for update in (1, 2)
    ]
