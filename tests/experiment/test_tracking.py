"""Weights & Biases by its real client against a server on the loopback interface: every row there, and once.

A life is a process that logs rows and then dies as by SIGKILL; the life after it goes on from a checkpoint.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from wandb_stub import ENTITY, Server

from rlformers.cli import main
from rlformers.compose import compose
from rlformers.experiment.run_dir import write_config
from rlformers.experiment.sinks import JsonlSink, read_rows
from rlformers.experiment.sinks.wandb import WandbSink
from rlformers.experiment.sinks.wandb_held import local_rows, steps_of

WANDB = str(Path(sys.executable).with_name("wandb"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    import wandb

    with Server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            monkeypatch.setenv(name, str(tmp_path / name))
        wandb.teardown()  # it has read its settings
        yield server
        wandb.teardown()


def row(step: int, seed: int = 0) -> dict:
    """A row of the size that training makes; bit for bit the same whenever it is made."""
    return {"seed": seed, "step": step, "episode/return": step + seed / 2} | {
        f"ppo/{i}": step / i for i in range(1, 20)
    }


def summary(seeds: list[int], completed: bool = True) -> dict:
    return {"seeds": seeds, "final_return": {"per_seed": [seed + 0.5 for seed in seeds]}, "completed": completed}


def live(run_dir: Path, *overrides: str, steps: range, before: int = 0, covered: int = 0, seeds: int = 1) -> WandbSink:
    """Log some steps, to metrics.jsonl too, after a checkpoint at step `before` and up to one at `covered`."""
    config = compose([f"seeds={seeds}", *overrides])
    run_dir.mkdir(exist_ok=True)
    write_config(run_dir, config)
    path = run_dir / "metrics.jsonl"
    lines = path.read_bytes().splitlines(True) if before else []
    size = sum(len(line) for line in lines if json.loads(line)["step"] <= before)
    metrics = JsonlSink(path, size)
    sink = WandbSink(config, run_dir, "group", read_rows(path))
    for step in steps:
        for seed in range(seeds):
            metrics.log(row(step, seed))
            sink.log(row(step, seed))
    sink.commit(covered)
    metrics.finish({})
    return sink


def killed(*arguments: object, **options: object) -> None:
    """`live` in a process of its own that dies by SIGKILL at once, or `after` seconds later."""
    after = options.pop("after", 0.0)
    code = (
        "import os, signal, sys, time; from pathlib import Path; from test_tracking import live\n"
        f"live(Path({str(arguments[0])!r}), *{arguments[1:]!r}, **{options!r})\n"
        f"time.sleep({after}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == -signal.SIGKILL


def upload(run_dir: Path) -> str:
    """`wandb sync` as the line at the end of an offline training says."""
    pieces = sorted(str(path) for path in (run_dir / "wandb").glob("offline-run-*"))
    return subprocess.run([WANDB, "sync", *pieces], capture_output=True, text=True, check=True).stderr


def test_an_online_run(server, tmp_path):
    sink = live(tmp_path / "r", "wandb.project=a/b", "wandb.tags=[mine]", seeds=2, steps=range(10, 40, 10), covered=20)
    runs = [server.runs[run.run.id] for run in sink.series]
    assert [series.added for series in sink.series] == [2, 2]  # no checkpoint covers the third
    sink.finish(summary([0, 1]))
    for seed, run in enumerate(runs):
        assert run.column("env_steps") == [10, 20, 30] and run.exit_code == 0
        assert run.column("episode/return") == [step + seed / 2 for step in (10, 20, 30)]
        assert run.summary["final_return"] == seed + 0.5
        assert run.config["seed"] == seed and run.config["core"]["name"] == "gru"
        assert (run.project, run.bucket["groupName"], run.bucket["tags"][0]) == ("a-b", "group", "mine")


# W&B sends what there is every 15 seconds.
@pytest.mark.parametrize("after", [0, pytest.param(17, marks=pytest.mark.slow)], ids=["before it has sent", "after"])
def test_a_killed_online_run_has_no_gap_and_no_row_twice(after, server, tmp_path, capsys):
    run_dir = tmp_path / "r"
    killed(run_dir, steps=range(1, 31), covered=20, after=after)
    (run,) = server.runs.values()
    assert len(run.history) == (20 if after else 0) and run.exit_code is None
    live(run_dir, steps=range(26, 41), before=25, covered=40).finish(summary([0], completed=False))
    assert run.column("env_steps") == list(range(1, 41)) and run.exit_code == 1
    live(run_dir, steps=range(31, 51), before=30, covered=50).finish(summary([0]))  # an older checkpoint
    assert run.column("env_steps") == list(range(1, 51)) and run.exit_code == 0
    assert list(server.runs) == [run.name] and capsys.readouterr().out == ""


@pytest.mark.parametrize("hurry", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_offline_run_in_pieces_is_uploaded_once(hurry, server, tmp_path, capsys):
    run_dir = tmp_path / "r"
    offline = "wandb.mode=offline"
    killed(run_dir, offline, steps=range(1, 301), covered=260)
    (run_id,) = json.loads((run_dir / "wandb" / "ids.json").read_text())["ids"].values()
    reached = len(local_rows(run_dir, run_id))
    assert 0 < reached < 260  # the client had not written all of them: this is what has to be made good
    if hurry:
        assert "ends with an incomplete record" in upload(run_dir)
        assert [run.column("env_steps") for run in server.runs.values()] == [list(range(1, reached + 1))]
    live(run_dir, offline, steps=range(261, 411), before=260, covered=400).finish(summary([0]))
    assert f"wandb sync {run_dir}/wandb/offline-run-*" in capsys.readouterr().out
    assert steps_of(local_rows(run_dir, run_id)) == {step: 1 for step in range(1, 411)}
    upload(run_dir)
    (run,) = server.runs.values()
    assert run.column("env_steps") == list(range(1, 411))
    assert "Skipped 2 synced run(s)" in upload(run_dir)
    assert main(["track", str(run_dir)]) == 0
    assert f"{run_dir}: 0 of 410 rows added online" in capsys.readouterr().out
    assert len(run.history) == 410


def test_going_online_takes_the_place_of_offline_pieces(server, tmp_path):
    run_dir = tmp_path / "r"
    live(run_dir, "wandb.mode=offline", steps=range(1, 6), covered=5).finish(summary([0], completed=False))
    live(run_dir, steps=range(6, 9), before=5, covered=8).finish(summary([0]))
    (run,) = server.runs.values()
    assert run.column("env_steps") == list(range(1, 9))
    assert "No runs to sync" in upload(run_dir)
    live(run_dir, "wandb.mode=offline", steps=range(9, 12), before=8, covered=11).finish(summary([0]))
    upload(run_dir)
    assert run.column("env_steps") == list(range(1, 12))


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
    assert capsys.readouterr().out == f"{never_logged}: 10 of 10 rows added online\n"
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
    assert capsys.readouterr().out == f"{never_logged}: 1 of 10 rows added online\n"
    assert first.history == before and sorted(second.column("env_steps")) == [10, 20, 30, 40, 50]
    assert second.summary["env_steps"] == 50  # the newest row, though another was logged last
    assert main(["track", str(never_logged), "wandb.project=later"]) == 0
    assert capsys.readouterr().out == f"{never_logged}: 0 of 10 rows added online\n"
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


@pytest.mark.parametrize(
    "words,complaint",
    [
        ([], "track: need a run directory; usage: rlformers track RUN_DIR... [wandb.KEY=VALUE ...]"),
        (["nowhere"], "nowhere/config.yaml: No such file or directory"),
        (["nowhere", "seed=1"], "track: 'seed=1' is no wandb.KEY=VALUE"),
        (["nowhere", "wandb.modus=online"], "nowhere/config.yaml: No such file or directory"),
        (["RUN", "wandb.modus=online"], "wandb.modus: unknown key; did you mean 'wandb.mode'?"),
        (
            ["RUN", "wandb.mode=disabled"],
            "wandb.mode: need one of auto, online, offline to track a run, got 'disabled'",
        ),
    ],
)
def test_what_cannot_be_tracked(words, complaint, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    live(tmp_path / "RUN", "wandb.mode=disabled", steps=range(1, 3))
    assert main(["track", *words]) == 2
    assert capsys.readouterr().err == f"rlformers: {complaint}\n"


def test_the_trial_of_an_agent_is_one_run_of_means(server, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep001")
    monkeypatch.setenv("WANDB_RUN_ID", "trial1")
    live(tmp_path / "r", steps=range(10, 40, 10), covered=20, seeds=2).finish(summary([0, 1]))
    (run,) = server.runs.values()
    assert (run.name, run.bucket["sweep"], run.bucket["groupName"]) == ("trial1", "sweep001", "sweep001")
    assert run.column("env_steps") == [10, 20, 30] and run.column("episode/return") == [10.25, 20.25, 30.25]
    assert run.summary["final_return"] == 1.0 and run.config["seeds"] == 2
    # Outside of the agent, the same run goes on where it is.
    monkeypatch.delenv("WANDB_SWEEP_ID")
    monkeypatch.delenv("WANDB_RUN_ID")
    assert main(["track", str(tmp_path / "r")]) == 0
    assert list(server.runs) == ["trial1"] and len(run.history) == 3


def test_a_server_that_goes_away_stops_nothing(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rlformers.experiment.sinks.wandb._FINISH_TIMEOUT", 1)
    monkeypatch.setattr("rlformers.experiment.sinks.wandb._INIT_TIMEOUT", 1)
    sink = live(tmp_path / "r", steps=range(1, 4), covered=3, seeds=2)
    assert [series.run.entity for series in sink.series] == [ENTITY] * 2
    server.hang_up()
    begun = time.monotonic()
    sink.finish(summary([0, 1]))
    assert time.monotonic() - begun < 10
    later = f"wandb: not all could be uploaded in 1 s; later: rlformers track {tmp_path}/r\n"
    assert capsys.readouterr().out == later
    live(tmp_path / "q", steps=range(1, 4), covered=3).finish(summary([0]))
    assert "wandb: cannot go online (" in (out := capsys.readouterr().out) and "wandb sync" in out


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

    from rlformers.experiment.checkpoint import CheckpointStore

    store = CheckpointStore(tmp_path / "checkpoints", 3)
    meta = {"config": {}, "versions": {}}
    for update, score in enumerate([3.0, 2.0, 1.0], 1):
        store.save(update, {"x": np.full(4, update, np.float32)}, meta, score)
    store.wait()
    store.close()
    return tmp_path / "checkpoints"


TRAINING = "ppo.num_envs=2 ppo.num_steps=8 ppo.num_minibatches=1 ppo.update_epochs=1 core=mlp model.width=8 seeds=2"
TRAINING += " total_steps=8000 log_every=1 checkpoint.every=0.001 chunk_seconds=0.02"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_training_that_is_killed_twice(mode, server, tmp_path):
    run_dir = tmp_path / "r"
    command = [sys.executable, "-m", "rlformers", "train", *TRAINING.split(), f"run_dir={run_dir}"]
    command.append(f"wandb.mode={mode}")
    for goal in (250, 650):  # of 1000 lines
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None and len(read_rows(run_dir / "metrics.jsonl")) < goal:
            time.sleep(0.02)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    subprocess.run(command, check=True)
    if mode == "offline":
        upload(run_dir)
    rows = read_rows(run_dir / "metrics.jsonl")
    assert len(rows) == 1000 and len(server.runs) == 2
    for run in server.runs.values():
        own = [row for row in rows if row["seed"] == run.config["seed"]]
        assert run.column("env_steps") == [row["step"] for row in own]
        assert run.column("ppo/policy_loss") == [row["ppo/policy_loss"] for row in own]
        assert run.column("episode/return") == [row["episode/return"] for row in own if row["episode/count"]]
