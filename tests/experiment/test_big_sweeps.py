"""Sweeps of hundreds of runs read, check and write equal things once."""

import json
from pathlib import Path

import pytest

from rlformers.command.main import main
from rlformers.config import compose as composing
from rlformers.config.typed_node import Node
from rlformers.experiment.run_files import run_dir
from rlformers.experiment.sweeps.record import Sweep, find, same


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """How often slow things happen in a sweep of runs that train nothing."""
    counts = dict.fromkeys(("files", "nodes", "checks", "records", "trained"), 0)

    def count(what, function):
        def counting(*args, **kwargs):
            counts[what] += 1
            return function(*args, **kwargs)

        return counting

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rlformers.experiment.sweeps.record.write_json", count("records", run_dir.write_json))
    monkeypatch.setattr(composing, "read_layers", count("files", composing.read_layers))
    monkeypatch.setattr(Node, "__init__", count("nodes", Node.__init__))
    monkeypatch.setattr("rlformers.experiment.program.build.check", count("checks", lambda config: None))
    monkeypatch.setattr("rlformers.experiment.sweeps.worker.create_run_dir", lambda config: None)
    monkeypatch.setattr("rlformers.experiment.training.train.train", count("trained", lambda *_: None))
    return counts


@pytest.mark.parametrize(
    "words,runs,cores,checks",
    [
        (["seed=range(0,50)", "ppo.lr=1e-4,2e-4,3e-4,4e-4,5e-4,6e-4,7e-4,8e-4,9e-4,1e-3"], 500, 1, 1),
        (["core=mlp,gru,s5,lstm,gtrxl", "seed=range(0,100)"], 500, 5, 5),
        (["total_steps=1e6,2e6", "wandb.tags=[a],[b]", "log_every=1,2", "ppo.num_envs=32,64"], 16, 1, 2),
    ],
)
def test_runs_that_look_alike_share_what_is_read_and_checked(words, runs, cores, checks, counted):
    main(["train", "--multirun", "experiment=tmaze", *words, "run_dir=sweep"])
    assert counted == {"files": cores, "nodes": cores, "checks": checks, "records": 1, "trained": runs}
    # A status appends a line and does not rewrite the whole record.
    lines = Path("sweep/statuses.jsonl").read_text().splitlines()
    assert len(lines) == 2 * runs and max(map(len, lines)) < 100
    assert [run["status"] for run in Sweep(Path("sweep")).runs] == ["finished"] * runs


def test_the_runs_of_a_sweep_are_found_in_any_order_and_none_twice(tmp_path):
    from rlformers.experiment.sweeps.multirun import expand
    from rlformers.experiment.sweeps.record import create

    def jobs(word):
        return expand(composing.parse([word]))[0]

    create(jobs("seed=0,1,1"), tmp_path / "sweep", [])
    sweep, matched = find(jobs("seed=1,0,1"), tmp_path / "sweep")
    assert [(job.config.seed, Path(job.config.run_dir).name) for job in matched] == [(0, "0"), (1, "1"), (1, "2")]
    assert sweep.match(jobs("seed=0,0,1")) is None
    one, other = jobs("env_kwargs={b: 1, a: 2}"), jobs("env_kwargs={a: 2, b: 1}")
    assert same(one[0].config) == same(other[0].config)


def test_a_line_cut_by_a_crash_costs_one_status(tmp_path):
    (tmp_path / "sweep.json").write_text(
        json.dumps({"schema": 3, "group": "g", "command": [], "runs": [{"run_dir": "0"}, {"run_dir": "1"}]})
    )
    sweep = Sweep(tmp_path)
    sweep.set(0, "running")
    with (tmp_path / "statuses.jsonl").open("a") as file:
        file.write('{"run": 0, "sta')
    sweep.set(1, "failed", "ValueError: no")
    assert [(run["status"], run["error"]) for run in sweep.runs] == [("running", None), ("failed", "ValueError: no")]
