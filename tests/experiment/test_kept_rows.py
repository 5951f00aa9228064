"""Rows are never lost: a run without checkpoints counts as finished, is refused, or starts beside the old rows."""

import json
import shutil
from pathlib import Path

import pytest

from rlformers.command.main import main
from rlformers.config.compose import change, compose, load
from rlformers.experiment.checkpoints.kept_rows import finished, last_rows, set_rows_aside
from rlformers.experiment.checkpoints.store import Checkpoint, saved_updates
from rlformers.experiment.run_files.provenance import versions
from rlformers.experiment.run_files.run_dir import create_run_dir
from rlformers.experiment.training.train import train, train_together

SMALL = ["core=mlp", "ppo.num_envs=2", "ppo.num_steps=8", "ppo.num_minibatches=1", "ppo.update_epochs=1"]
SMALL += ["model.width=8", "total_steps=64", "log_every=1", "wandb.mode=disabled", "seeds=2", "checkpoint.every=0"]
SMALL += ["checkpoint.keep_every=32"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run."""
    config = compose([*SMALL, f"run_dir={tmp_path_factory.mktemp('kept') / 'run'}"])
    train(config, create_run_dir(config))
    return Path(config.run_dir)


@pytest.fixture
def copied(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def again(run_dir: Path) -> int:
    return main(["train", *SMALL, f"run_dir={run_dir}"])


def edit(run_dir: Path, **values) -> None:
    path = run_dir / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def without_clock(path: Path) -> list[dict]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "perf/steps_per_second"} for row in rows]


def test_a_finished_run_is_finished_without_its_checkpoints(copied, capsys):
    shutil.rmtree(copied / "checkpoints")
    before = (copied / "metrics.jsonl").read_bytes()
    assert again(copied) == 0
    out = capsys.readouterr().out
    assert f"{copied} is finished\n" in out and "has lost its checkpoints" in out
    assert (copied / "metrics.jsonl").read_bytes() == before and not (copied / "checkpoints").exists()
    (copied / "checkpoints").mkdir()
    assert again(copied) == 0
    assert (copied / "metrics.jsonl").read_bytes() == before


def test_a_finished_run_is_finished_with_a_damaged_last_checkpoint(copied, capsys):
    (copied / "checkpoints" / "4" / "meta.json").write_text("")
    before = (copied / "metrics.jsonl").read_bytes()
    assert again(copied) == 0
    assert f"its last good checkpoint is {copied}/checkpoints/2;" in capsys.readouterr().out
    assert (copied / "metrics.jsonl").read_bytes() == before
    # As it says, the lost part can be computed again.
    (copied / "summary.json").unlink()
    assert again(copied) == 0
    assert saved_updates(copied / "checkpoints")[-1] == 4 and not list(copied.glob("*.old"))
    lines = [line.split(b', "perf')[0] for line in (copied / "metrics.jsonl").read_bytes().splitlines()]
    assert lines == [line.split(b', "perf')[0] for line in before.splitlines()]


@pytest.mark.parametrize("how", ["stopped", "cut", "longer"])
def test_a_run_that_has_lost_its_checkpoints_is_refused(how, copied, capsys):
    shutil.rmtree(copied / "checkpoints")
    words, metrics = [], copied / "metrics.jsonl"
    if how == "stopped":
        edit(copied, completed=False, total_steps=48, last_checkpoint=3)
    elif how == "cut":
        metrics.write_bytes(metrics.read_bytes()[:-10])
    else:
        words = ["total_steps=128"]
    before = metrics.read_bytes()
    assert main(["train", *SMALL, *words, f"run_dir={copied}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"run_dir: {copied} has rows up to step " in error
    assert "move the directory away, or give another run_dir=" in error
    assert metrics.read_bytes() == before and not (copied / "checkpoints").exists()


@pytest.mark.parametrize("killed", [True, False])
def test_rows_before_the_first_checkpoint_are_set_aside(killed, copied, whole, capsys):
    shutil.rmtree(copied / "checkpoints")
    if killed:
        (copied / "summary.json").unlink()
    else:  # an error in its environment ended it
        edit(copied, completed=False, total_steps=48, last_checkpoint=0)
    before = (copied / "metrics.jsonl").read_bytes()
    (copied / "metrics.jsonl.1.old").write_text("of another life\n")
    assert again(copied) == 0
    assert capsys.readouterr().out.count("they are now in metrics.jsonl.2.old, and the run starts anew\n") == 1
    assert (copied / "metrics.jsonl.2.old").read_bytes() == before
    assert (copied / "metrics.jsonl.1.old").read_text() == "of another life\n"
    assert without_clock(copied / "metrics.jsonl") == without_clock(whole / "metrics.jsonl")


def test_each_run_of_a_program_is_looked_at_alone(copied, whole, tmp_path):
    done, lost, new = copied, shutil.copytree(whole, tmp_path / "lost"), tmp_path / "new"
    for path in (done, lost):
        shutil.rmtree(path / "checkpoints")
    edit(lost, completed=False, total_steps=48, last_checkpoint=3)
    before = [(path / "metrics.jsonl").read_bytes() for path in (done, lost)]
    configs = [compose([*SMALL, f"run_dir={path}"]) for path in (done, lost, new)]
    outcomes = train_together(configs, [create_run_dir(config) for config in configs])
    assert outcomes[0] == json.loads((done / "summary.json").read_text())
    assert str(outcomes[1]).startswith(f"run_dir: {lost} has rows up to step 64, but its checkpoints are gone")
    assert outcomes[2]["completed"]
    assert [(path / "metrics.jsonl").read_bytes() for path in (done, lost)] == before
    assert without_clock(new / "metrics.jsonl") == without_clock(whole / "metrics.jsonl")


def test_finished_means_of_this_configuration_and_with_its_last_row(copied):
    config = load(copied / "config.yaml")
    assert finished(copied, config) is not None
    for word in ("total_steps=80", "seeds=1", "seed=1"):
        assert finished(copied, change(config, [word])) is None
    lines = (copied / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copied / "metrics.jsonl").write_text("".join(lines[:-1]))
    assert finished(copied, config) is None
    failed = {"seed": 1, "what": "loss is not finite", "update": 4, "step": 64}
    edit(copied, failed=[failed])
    assert finished(copied, config) is not None
    edit(copied, failed=[failed], completed=False)
    assert finished(copied, config) is None


def test_last_rows_of_files_of_any_size(tmp_path):
    path = tmp_path / "rows"
    assert last_rows(path, 2) == []
    rows = [{"step": i, "text": "x" * 5000} for i in range(100)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 100')
    for count in (1, 2, 30, 100, 1000):
        assert last_rows(path, count) == rows[-count:]


CHANGES = {
    "as it was": ({}, 1, False, False),
    "versions": ({"versions": versions() | {"jax": "0.0.1"}}, 1, False, True),
    "devices": ({}, 2, False, True),
    "host": ({}, 1, True, True),
    "longer": ({"longer": True}, 1, False, True),
}


@pytest.mark.parametrize("changed,num_devices,anew,kept", CHANGES.values(), ids=CHANGES)
def test_a_copy_is_kept_where_rows_may_come_out_otherwise(changed, num_devices, anew, kept, copied):
    config = load(copied / "config.yaml")
    meta = json.loads((copied / "checkpoints" / "2" / "meta.json").read_text()) | changed
    checkpoint = Checkpoint(copied / "checkpoints" / "2", 2, meta)
    longer = change(config, ["total_steps=128"]) if changed.pop("longer", False) else config
    before, lines = (copied / "metrics.jsonl").read_bytes(), []
    set_rows_aside(copied, longer, checkpoint, num_devices, anew, lines.append)
    assert (copied / "metrics.jsonl").read_bytes() == before
    assert [file.read_bytes() for file in copied.glob("*.old")] == [before] * kept and len(lines) == kept
    # Nothing is cut off, so nothing is lost.
    meta["metrics_bytes"] = len(before)
    set_rows_aside(copied, longer, checkpoint, num_devices, anew, lines.append)
    assert len(list(copied.glob("*.old"))) == kept
