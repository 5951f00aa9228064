"""The command line: bad input, a small run, what it writes."""

import json
from pathlib import Path

import pytest

from rlformers.command.main import main
from rlformers.config.compose import compose
from rlformers.experiment.run_files.run_dir import create_run_dir
from rlformers.experiment.tracking import read_rows
from rlformers.experiment.tracking.tensorboard import steps_of
from rlformers.experiment.tracking.wandb_held import history

SMALL = ["ppo.num_envs=4", "ppo.num_steps=16", "ppo.num_minibatches=2", "model.width=8"]


@pytest.mark.parametrize(
    "overrides,words",
    [
        (["core=gruu"], ["core", "gruu", "gru"]),
        (["env=popgym/RepeatPreviousEasi"], ["env", "RepeatPreviousEasy"]),
        (["ppo.lr=fast"], ["ppo.lr", "fast", "float"]),
        (["ppo.lrr=1"], ["ppo.lrr", "ppo.lr"]),
        (["ppo.num_envs=6", "ppo.num_minibatches=4"], ["ppo.num_envs", "num_minibatches"]),
        (["core=gtrxl", "core.heads=5"], ["core.heads", "5", "64"]),
        (["seeds=0"], ["seeds", "0"]),
        (["total_steps=10"], ["total_steps", "10", "8192"]),
        (["env=popgym/PositionOnlyPendulumEasy", "model.policy=categorical"], ["model.policy", "categorical"]),
        (["env=memory/TMaze", "env_params.lenth=3"], ["env_params.lenth", "length"]),
        (["env=memory/TMaze", "env_kwargs.raw=true"], ["env_kwargs.raw", "no such argument"]),
        (["env=brax/ant", "env_kwargs.env_id=fast"], ["env_kwargs.env_id"]),
        (["env=gymnax/CartPole-v1", "wrap.mask=[0,9]"], ["wrap.mask", "9", "0 to 3"]),
        (["env=memory/TMaze", "wrap.flicker=2"], ["wrap.flicker", "2", "probability"]),
        (["run_dir=/proc/nowhere/run"], ["run_dir", "/proc/nowhere/run"]),
        (["seeds=1,2"], ["seeds", "--multirun"]),
    ],
)
def test_bad_input_is_one_line(overrides, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *overrides]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and all(word in error for word in words), error
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two seeds with every view of its rows, and its command."""
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    words = ["wandb.mode=offline", "wandb.group=g", "tensorboard=true", f"run_dir={run_dir}"]
    command = ["train", *SMALL, "seeds=2", "total_steps=256", *words]
    assert main(command) == 0
    return run_dir, command


@pytest.mark.parametrize("words", [[], ["lists"], ["envs", "popgym", "more"], ["experiments", "tmaze"]])
def test_list_names_its_choices(words, capsys):
    assert main(["list", *words]) == 2
    error = capsys.readouterr().err
    assert error == f"rlformers: list: need one of cores, envs, experiments, got {' '.join(words)!r}\n"


def test_resume_says_where_and_run_dir_cannot_say_otherwise(tmp_path, capsys):
    run_dir = create_run_dir(compose([f"run_dir={tmp_path / 'run'}"]))
    for other in (tmp_path / "other", "null"):
        assert main(["train", f"resume={run_dir}", f"run_dir={other}"]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"rlformers: run_dir: resume={run_dir} names the directory") and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_train_writes_a_run_directory_and_keeps_it(trained, capsys):
    run_dir, command = trained
    rows = read_rows(run_dir / "metrics.jsonl")
    assert [(row["seed"], row["step"]) for row in rows] == [(s, 64 * u) for u in (1, 2, 3, 4) for s in (0, 1)]
    assert max(row["ppo/first_ratio_error"] for row in rows) < 1e-4
    # What a GRU of width 8 can hold, and T = 16; episodes of 52 steps.
    assert all(0 < row["memory/state_norm"] < 8**0.5 and 0 < row["memory/state_max"] < 1 for row in rows)
    assert all(1 <= row["memory/age"] <= 16 and 0 <= row["memory/starts"] <= 1 for row in rows)
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["completed"] and len(summary["final_return"]["per_seed"]) == 2
    assert summary["state_size"] == 8  # of a GRU: its width, for one environment of one seed
    before = (run_dir / "metrics.jsonl").read_bytes()
    assert main(command) == 0
    assert "run is finished" in capsys.readouterr().out
    assert main([*command, "ppo.lr=0.1"]) == 2
    assert "ppo.lr=0.1 was 0.001" in capsys.readouterr().err
    assert (run_dir / "metrics.jsonl").read_bytes() == before


def test_what_a_row_holds_is_documented(trained):
    text = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text()
    for key in read_rows(trained[0] / "metrics.jsonl")[0]:
        assert f"`{key}`" in text, key


def test_views_hold_the_rows_of_a_training(trained):
    run_dir, _ = trained
    rows = read_rows(run_dir / "metrics.jsonl")
    ids = json.loads((run_dir / "wandb" / "ids.json").read_text())["ids"]
    assert list(ids) == ["0", "1"]
    for seed, run_id in enumerate(ids.values()):
        (file,) = (run_dir / "wandb").glob(f"offline-run-*/run-{run_id}.wandb")
        assert [(row["env_steps"], row["ppo/entropy"]) for row, _ in history(file)] == [
            (row["step"], row["ppo/entropy"]) for row in rows if row["seed"] == seed
        ]
        assert steps_of(run_dir / "tensorboard" / f"seed_{seed}") == {64, 128, 192, 256}


@pytest.mark.slow
def test_multirun_trains_every_combination(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--multirun", *SMALL, "core=mlp,gru", "total_steps=64", "wandb.mode=disabled"]) == 0
    assert "2 of 2 runs finished" in capsys.readouterr().out
    summaries = {path.parents[1].name: json.loads(path.read_text()) for path in tmp_path.rglob("summary.json")}
    assert {core: summary["state_size"] for core, summary in summaries.items()} == {"mlp": 0, "gru": 8}


def test_help_says_what_every_key_and_core_option_means(capsys):
    assert main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    for words in ("ppo.gae_lambda  ", "core.state_size  ", "experiment=tmaze", "env=memory/TMaze"):
        assert words in out
    assert "linearly to 0 over total_steps" in out and "P, of which conj_sym stores half" in out


def test_tensorboard_needs_its_extra(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["train", "tensorboard=true"]) == 2
    assert capsys.readouterr().err == (
        "rlformers: tensorboard: true needs another package: pip install 'rlformers[tensorboard]'\n"
    )
