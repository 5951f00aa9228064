"""Weights & Biases by its real client against a server on the loopback interface: every row there, and once.

A life is a process that logs rows and then dies as by SIGKILL; the life after it goes on from a
checkpoint.
"""

import json
import re
import signal
import subprocess
import sys
import time
from datetime import datetime

import pytest
from wandb_lives import cut, killed, live, summary, upload
from wandb_stub import ENTITY

from rlformers.command.main import main
from rlformers.experiment.tracking import read_rows, wandb_held
from rlformers.experiment.tracking.wandb_held import local_rows, steps_of


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


# W&B sends new data every 15 seconds.
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
    assert list(server.runs) == [run.name]
    address = f"wandb: {server.environment['WANDB_BASE_URL']}/{ENTITY}/rlformers/runs/{run.name}\n"
    assert capsys.readouterr().out == 2 * address


@pytest.mark.parametrize("hurry", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_offline_run_in_pieces_is_uploaded_once(hurry, server, tmp_path, capsys):
    run_dir = tmp_path / "r"
    offline = "wandb.mode=offline"
    killed(run_dir, offline, steps=range(1, 301), covered=260, written=150)
    (run_id,) = json.loads((run_dir / "wandb" / "ids.json").read_text())["ids"].values()
    cut(run_dir, run_id, rows=100)
    assert len(local_rows(run_dir, run_id)) == 100  # of the 260 that were handed over: the rest has to be made good
    if hurry:
        assert "ends with an incomplete record" in upload(run_dir)
        assert [run.column("env_steps") for run in server.runs.values()] == [list(range(1, 101))]
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


def test_starts_within_one_second(server, tmp_path, monkeypatch):
    monkeypatch.setattr("wandb.sdk.wandb_settings.datetime", _Stopped)
    lives = [range(1, 6), range(6, 9), range(9, 12)]
    for steps in lives:
        sink = live(tmp_path, "wandb.mode=offline", steps=steps, before=steps[0] - 1, covered=steps[-1])
        sink.finish(summary([0], completed=False))
    (run_id,) = json.loads((tmp_path / "wandb" / "ids.json").read_text())["ids"].values()
    folders = sorted(path.name for path in (tmp_path / "wandb").glob("offline-run-*"))
    assert folders == [f"offline-run-20261201_120000-{run_id}{end}" for end in ("", "-1", "-2")]
    assert [row["env_steps"] for row in local_rows(tmp_path, run_id) if "env_steps" in row] == list(range(1, 12))
    upload(tmp_path)
    (run,) = server.runs.values()
    assert run.column("env_steps") == list(range(1, 12))


class _Stopped(datetime):
    @classmethod
    def fromtimestamp(cls, timestamp, tz=None):
        return cls(2026, 12, 1, 12, tzinfo=tz)


@pytest.mark.parametrize("same_second", [False, True])
def test_going_online_takes_the_place_of_offline_pieces(same_second, server, tmp_path, monkeypatch):
    if same_second:
        monkeypatch.setattr("wandb.sdk.wandb_settings.datetime", _Stopped)
    run_dir = tmp_path / "r"
    live(run_dir, "wandb.mode=offline", steps=range(1, 6), covered=5).finish(summary([0], completed=False))
    live(run_dir, steps=range(6, 9), before=5, covered=8).finish(summary([0]))
    (run,) = server.runs.values()
    assert run.column("env_steps") == list(range(1, 9))
    assert "No runs to sync" in upload(run_dir)
    live(run_dir, "wandb.mode=offline", steps=range(9, 12), before=8, covered=11).finish(summary([0]))
    upload(run_dir)
    assert run.column("env_steps") == list(range(1, 12))


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


def test_the_environment_says_what_the_configuration_does_not(server, tmp_path, monkeypatch):
    names = {"PROJECT": "ours", "RUN_GROUP": "the group", "NAME": "mine", "TAGS": "one, two,,", "ENTITY": ENTITY}
    for name, value in names.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    live(tmp_path / "r", steps=range(1, 4), covered=3, seeds=2).finish(summary([0, 1]))
    for seed, run in enumerate(server.runs.values()):
        assert (run.project, run.bucket["groupName"]) == ("ours", "the group")
        assert run.bucket["displayName"] == f"mine-seed{seed}"
        assert set(run.bucket["tags"]) > {"one", "two"} and "" not in run.bucket["tags"]
    server.runs.clear()
    own = ["wandb.project=theirs", "wandb.group=another", "wandb.tags=[three,'']"]
    live(tmp_path / "q", *own, steps=range(1, 4), covered=3).finish(summary([0]))
    (run,) = server.runs.values()
    assert (run.project, run.bucket["groupName"]) == ("theirs", "another")
    assert "three" in run.bucket["tags"] and "one" not in run.bucket["tags"]


@pytest.mark.parametrize("fault", ["other format", "nothing", "error"])
def test_files_that_cannot_be_read_back_are_not_believed(fault, tmp_path, monkeypatch, capsys):
    """A version of W&B that writes differently: no row is logged twice, and a line says what is assumed to be there."""
    run_dir = tmp_path / "r"
    live(run_dir, "wandb.mode=offline", steps=range(1, 6), covered=5).finish(summary([0], completed=False))
    (run_id,) = json.loads((run_dir / "wandb" / "ids.json").read_text())["ids"].values()
    assert json.loads((run_dir / "wandb" / "ids.json").read_text())["rows"] == {run_id: 5}
    capsys.readouterr()
    sink = live(run_dir, "wandb.mode=offline", steps=range(6, 9), before=5, covered=8)
    assert [series.added for series in sink.series] == [3]
    sink.finish(summary([0]))
    assert "cannot read back" not in capsys.readouterr().out
    (first, second) = sorted((run_dir / "wandb").glob("offline-run-*/*.wandb"))
    if fault == "other format":
        first.write_bytes(b"LIKE NOTHING" * 500)
    elif fault == "nothing":
        first.unlink()
    else:
        monkeypatch.setattr(wandb_held, "_records", lambda data: {}["format"])
    sink = live(run_dir, "wandb.mode=offline", steps=range(9, 11), before=8, covered=10)
    why = "KeyError: 'format'" if fault == "error" else r"\d rows where 8 were written"
    line = rf"wandb: cannot read back {run_dir}/wandb \({why}\); assuming that it holds all rows so far\n"
    assert re.fullmatch(line, capsys.readouterr().out)
    assert [series.added for series in sink.series] == [2]
    sink.finish(summary([0]))


def test_a_server_that_goes_away_stops_nothing(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rlformers.experiment.tracking.wandb._FINISH_TIMEOUT", 1)
    monkeypatch.setattr("rlformers.experiment.tracking.wandb._INIT_TIMEOUT", 1)
    sink = live(tmp_path / "r", steps=range(1, 4), covered=3, seeds=2)
    assert [series.run.entity for series in sink.series] == [ENTITY] * 2
    server.hang_up()
    assert f"wandb: {sink.series[0].run.url}\n" in capsys.readouterr().out
    begun = time.monotonic()
    sink.finish(summary([0, 1]))
    assert time.monotonic() - begun < 10
    later = f"wandb: the upload was not complete after 1 s; rlformers track {tmp_path}/r uploads the rest\n"
    assert capsys.readouterr().out == later
    live(tmp_path / "q", steps=range(1, 4), covered=3).finish(summary([0]))
    assert "wandb: cannot go online (" in (out := capsys.readouterr().out) and "wandb sync" in out


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
