"""`rlformers track`: runs that exist, uploaded by the real client to a server on the loopback interface."""

import json
import shutil

import pytest
from PIL import Image
from wandb_lives import live, upload

from rlformers.command.main import main
from rlformers.experiment.run_files.run_dir import locked


@pytest.fixture
def never_logged(tmp_path):
    """A run of two seeds that was killed before its end, with an evaluation, pictures and checkpoints."""
    live(tmp_path / "r", "wandb.mode=disabled", steps=range(10, 60, 10), seeds=2)
    run_dir = tmp_path / "r"
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write('{"seed": 0, "st')
    (run_dir / "evaluations").mkdir()
    (run_dir / "checkpoints" / "wandb").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(run_dir / "curve.png")
    Image.new("RGB", (4, 4)).save(run_dir / "evaluations" / "maze.gif")
    Image.new("RGB", (4, 4)).save(run_dir / "checkpoints" / "not_this.png")
    result = {"per_seed": [{"mean": 1.0}, {"mean": 3.0}], "mean": 2.0}
    evaluation = {"seeds": [0, 1], "results": {"return": result, "length": result}}
    (run_dir / "evaluations" / "maze.json").write_text(json.dumps(evaluation))
    return run_dir


def test_a_run_is_uploaded_later_and_again(server, never_logged, capsys):
    assert main(["track", str(never_logged), "wandb.project=later"]) == 0
    assert capsys.readouterr().out.endswith(f"/{never_logged.name}: 10 of 10 rows added online\n")
    first, second = server.runs.values()
    assert first.column("env_steps") == second.column("env_steps") == [10, 20, 30, 40, 50]
    assert (first.config["seed"], second.config["seed"], first.project, first.exit_code) == (0, 1, "later", 1)
    assert (first.summary["evaluations/maze/return"], second.summary["evaluations/maze/return"]) == (1.0, 3.0)
    assert {key for row in first.history for key in row if key.startswith("media/")} == {
        "media/curve",
        "media/evaluations/maze",
    }
    shown = len(server.uploads)
    del second.history[2]  # the server has lost a row
    before = [dict(row) for row in first.history]
    assert main(["track", str(never_logged), "wandb.project=later"]) == 0
    assert capsys.readouterr().out.endswith(f"/{never_logged.name}: 1 of 10 rows added online\n")
    assert first.history == before and sorted(second.column("env_steps")) == [10, 20, 30, 40, 50]
    assert second.summary["env_steps"] == 50  # the newest row, though another was logged last
    assert main(["track", str(never_logged), "wandb.project=later"]) == 0
    assert capsys.readouterr().out.endswith(f"/{never_logged.name}: 0 of 10 rows added online\n")
    assert len(server.runs) == 2 and len(server.uploads) == shown and len(second.history) == 5


def test_a_run_is_tracked_offline(never_logged, monkeypatch, server, capsys):
    for added in (10, 0):
        assert main(["track", str(never_logged), "wandb.mode=offline"]) == 0
        assert f"{never_logged}: {added} of 10 rows added offline" in capsys.readouterr().out
    assert not server.runs
    upload(never_logged)
    assert [run.column("env_steps") for run in server.runs.values()] == [[10, 20, 30, 40, 50]] * 2
    media = [row for run in server.runs.values() for row in run.history if "env_steps" not in row]
    assert len(media) == 2


def test_what_cannot_be_tracked(tmp_path, capsys):
    run_dir = tmp_path / "r"
    live(run_dir, "wandb.mode=disabled", steps=range(1, 3))
    nowhere = str(tmp_path / "nowhere")
    for words, complaint in [
        ([], "track: need a run directory; usage: rlformers track RUN_DIR... [wandb.KEY=VALUE ...]"),
        ([nowhere], f"{nowhere}/config.yaml: No such file or directory"),
        ([str(run_dir), "seed=1"], "track: need wandb.KEY=VALUE, got 'seed=1'"),
        ([str(run_dir), "wandb.modus=online"], "wandb.modus: unknown key; did you mean 'wandb.mode'?"),
        ([str(run_dir), "wandb.mode=disabled"], "wandb.mode: need one of auto, online, offline to track a run"),
    ]:
        assert main(["track", *words]) == 2
        assert capsys.readouterr().err.startswith(f"rlformers: {complaint}")
    with locked(run_dir):
        assert main(["track", str(run_dir)]) == 2
    assert f"run_dir: {run_dir} is in use by process" in capsys.readouterr().err
    assert not (run_dir / "wandb").exists()


def test_the_last_and_the_best_checkpoint_are_artifacts(server, never_logged, trained, capsys):
    shutil.copytree(trained, never_logged / "checkpoints", dirs_exist_ok=True)
    for _ in range(2):  # W&B keeps equal contents once
        assert main(["track", str(never_logged), "wandb.checkpoints=true"]) == 0
    (run_id, *_) = server.runs
    aliases = {json.loads(one["metadata"])["update"]: {a["alias"] for a in one["aliases"]} for one in server.artifacts}
    assert aliases[1] >= {"best"} and aliases[3] == {"latest"} and len(server.artifacts) == 2
    assert {one["artifactCollectionName"] for one in server.artifacts} == {f"checkpoint-{run_id}"}
    assert any(path.endswith("/SHA256SUMS") for path in server.uploads)


@pytest.fixture
def trained(tmp_path):
    """Checkpoints of three updates, the first of which is the best."""
    import numpy as np

    from rlformers.experiment.checkpoints.store import CheckpointStore

    store = CheckpointStore(tmp_path / "checkpoints", 3)
    meta = {"config": {}, "versions": {}}
    for update, score in enumerate([3.0, 2.0, 1.0], 1):
        store.save(update, {"x": np.full(4, update, np.float32)}, meta, score)
    store.wait()
    store.close()
    return tmp_path / "checkpoints"
