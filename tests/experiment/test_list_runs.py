"""`rlformers list runs` lists runs from a few files of each."""

import fcntl
import json
import os
import time

import pytest

from rlformers.command.main import main
from rlformers.command.run_table import few_keys, run_table
from rlformers.config.compose import compose, to_yaml

CONFIG = to_yaml(compose(["env=memory/TMaze", "core=s5", "seed=3", "seeds=2", "total_steps=20000", "eval.num_envs=7"]))
BATCH, GOAL = 8192, 16384  # 64 x 128; whole updates of 20,000 steps


def make(top, name, begun, summary=None, checkpoints=(), error=None):
    """The directory of a run that began so many seconds after the first."""
    run_dir = top / name
    (run_dir / "checkpoints").mkdir(parents=True)
    (run_dir / "config.yaml").write_text(CONFIG)
    os.utime(run_dir / "config.yaml", (1e9 + begun, 1e9 + begun))
    for update in checkpoints:
        (run_dir / "checkpoints" / str(update)).mkdir()
    if error:
        (run_dir / "error.txt").write_text(error)
    if summary is not None:
        final = {"per_seed": [1.0, 0.0], "iqm": 0.25, "mean": 0.5}
        defaults = {"completed": False, "total_steps": 0, "seeds": [3, 4], "final_return": final, "failure": None}
        (run_dir / "summary.json").write_text(json.dumps(defaults | summary))
    return run_dir


def rows(top):
    """Directory, steps, status and return of each line."""
    header, *lines = run_table(str(top))
    assert header.split() == ["begun", "directory", "env", "core", "seeds", "steps", "of", "status", "return"]
    cells = [line.split() for line in lines]
    assert all(row[3:6] == ["memory/TMaze", "s5", "3..4"] for row in cells if "unreadable" not in row)
    return [(os.path.relpath(row[2], top), row[6].replace(",", ""), row[8], row[9]) for row in cells]


def test_every_run_is_shown_by_time_with_its_state(tmp_path):
    make(tmp_path, "a/stopped", 5, {"total_steps": BATCH}, [1])
    make(tmp_path, "b/finished", 4, {"completed": True, "total_steps": GOAL}, [1, 2])
    make(tmp_path, "b/extended", 3, {"completed": True, "total_steps": BATCH}, [1])  # it had been shorter
    make(tmp_path, "sweep/0", 2, {"failure": {"what": "loss"}}, [])
    make(tmp_path, "sweep/1", 1, error="== 2026-01-01 00:00:00, train, process 7\nTraceback ...\n")
    make(tmp_path, "sweep/2", 0, error="== 2026-01-01 00:00:00, evaluate, process 7\nTraceback ...\n")
    running = make(tmp_path, "c", 6, checkpoints=[1])
    (running / "wandb" / "files").mkdir(parents=True)
    (running / "wandb" / "files" / "config.yaml").write_text("a file of W&B, and no run")
    with (running / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert rows(tmp_path) == [
            ("sweep/2", "0", "stopped", "-"),
            ("sweep/1", "0", "failed", "-"),
            ("sweep/0", "0", "failed", "-"),
            ("b/extended", "8192", "stopped", "-"),
            ("b/finished", "16384", "finished", "0.250"),
            ("a/stopped", "8192", "stopped", "-"),
            ("c", "8192", "running", "-"),
        ]


def test_a_config_of_another_hand_is_read_whole():
    text = "env: x\nseed: 0\nseeds: 1\ntotal_steps: 1e3\ncore: {name: gru}\nppo: {num_envs: 2, num_steps: 4}\n"
    assert few_keys(text)["ppo"] == {"num_envs": 2, "num_steps": 4}
    assert few_keys(CONFIG)["ppo"] == {"num_envs": 64, "num_steps": 128}


def test_what_cannot_be_read_is_said(tmp_path, capsys):
    (make(tmp_path, "a", 0) / "config.yaml").write_text("core: [")
    assert main(["list", "runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[-2:] == ["unreadable", "-"]


@pytest.mark.parametrize("place,complaint", [("no", "no directory no"), (".", ". contains no run")])
def test_where_no_runs_are_it_says_so(place, complaint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["list", "runs", place]) == 2
    assert complaint in capsys.readouterr().err


def test_a_thousand_runs_take_a_second(tmp_path):
    for number in range(1000):
        make(tmp_path, f"{number // 100}/{number}", number, {"total_steps": BATCH}, [1])
    started = time.process_time()
    assert len(run_table(str(tmp_path))) == 1001
    assert time.process_time() - started < 10  # 1 to 2 s on an idle machine
