"""Sweeps, with a training that is none: what runs, what a failure does, and what is refused before anything runs."""

import pytest

from rlformers.cli import main


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Names, groups and directories of the runs that were asked for; core mlp fails."""
    calls = []

    def train(config, run_dir, group=None):
        calls.append((config, run_dir, group))
        if config.core.name == "mlp":
            raise FloatingPointError("loss is nan\nand more")
        final = {"mean": 1.0, "iqm": 1.0, "ci95": None, "per_seed": [1.0]}
        return {"env": config.env, "core": config.core.name, "final_return": final}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rlformers.experiment.train.train", train)
    monkeypatch.setattr("rlformers.experiment.build.check", lambda config: None)
    return calls


def test_every_combination_runs_once_in_one_group_and_its_own_directory(trained, tmp_path, capsys):
    assert main(["train", "--multirun", "core=gru,s5", "ppo.lr=0.1,0.2", "seeds=2"]) == 0
    assert [(config.core.name, config.ppo.lr, config.seeds) for config, _, _ in trained] == [
        ("gru", 0.1, 2),
        ("gru", 0.2, 2),
        ("s5", 0.1, 2),
        ("s5", 0.2, 2),
    ]
    assert len({run_dir for _, run_dir, _ in trained}) == 4 and len({group for _, _, group in trained}) == 1
    out = capsys.readouterr().out
    assert "[2/4] core=gru ppo.lr=0.2\n" in out and "4 of 4 runs finished" in out
    assert f"rlformers report {trained[0][1]} " in out
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_failing_run_does_not_stop_the_others(trained, capsys):
    assert main(["train", "-m", "core=mlp,gru"]) == 1
    out = capsys.readouterr().out
    assert len(trained) == 2 and "1 of 2 runs finished" in out
    assert f"FAILED (FloatingPointError: loss is nan)  {trained[0][1]}" in out


def test_an_explicit_run_dir_gets_numbered_folders(trained, tmp_path, capsys):
    command = ["train", "-m", "core=gru,s5", "run_dir='my, runs'"]
    assert main(command) == 0
    assert sorted(path.name for path in (tmp_path / "my, runs").iterdir()) == ["0", "1", "multirun"]
    assert main(command) == 2 and len(trained) == 2
    assert "run_dir: my, runs exists" in capsys.readouterr().err


def test_core_options_of_an_experiment_reach_their_core(trained):
    assert main(["train", "-m", "experiment=popgym_lu2023", "core=gru,s5"]) == 0
    assert trained[1][0].core.options["state_size"] == 256


@pytest.mark.parametrize(
    "overrides,words",
    [
        (["core=gru,s6"], "core: 's6' is none of"),
        (["ppo.lr=0.1,fast"], "ppo.lr: need a float, got 'fast'"),
        (["ppo.lr=0.1,-1"], "ppo.lr: need a positive number"),
        (["core=gru,s5", "core.state_size=8"], "core.state_size: unknown key"),
        (["hydra/launcher=joblib_"], "hydra/launcher: "),
        (["hydra.sweep.dir=x"], "hydra.sweep.dir: of Hydra's own settings"),
        (["hydra.launcher._target_=os.system"], "_target_"),
        (["ppo.lr=interval(0,1)"], "ppo.lr"),
    ],
)
def test_one_bad_combination_costs_nothing(overrides, words, trained, tmp_path, capsys):
    assert main(["train", "--multirun", *overrides]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not trained and not list(tmp_path.iterdir())


def test_what_fails_in_the_check_names_the_combination(trained, tmp_path, monkeypatch, capsys):
    def check(config):
        if config.core.name == "s5":
            raise ValueError("model.width: no")

    monkeypatch.setattr("rlformers.experiment.build.check", check)
    assert main(["train", "--multirun", "core=gru,s5"]) == 2
    assert capsys.readouterr().err == "rlformers: model.width: no (in core=s5)\n"
    assert not trained and not list(tmp_path.iterdir())
