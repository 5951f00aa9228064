"""Hydra's sweepers: every trial is a run, its final return is the objective, and a missing package is named."""

import importlib.util
import json
import math
import os
import signal
import sys
import types
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins

from rlformers.command.main import main
from rlformers.experiment.training.stop_request import Interrupted, StopRequest

PLUGIN = '''
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

SEEN = []


class Climber(Sweeper):
    """Doubles the learning rate."""

    def __init__(self, trials):
        self.trials = trials

    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments):
        lr = 0.1
        for number in range(self.trials):
            chosen = [f"ppo.lr={lr}", "core.name=gru"]
            (result,) = self.launcher.launch([chosen], initial_job_idx=number)
            SEEN.append((arguments, chosen, result.return_value))
            lr *= 2


@dataclass
class Config:
    _target_: str = "hydra_plugins.rlformers_climber.Climber"
    trials: int = 3


ConfigStore.instance().store(group="hydra/sweeper", name="climber", node=Config, provider="climber")
'''


@pytest.fixture
def climber(monkeypatch):
    """What the sweeper saw: arguments, the words of a trial, and its result."""
    # Hydra takes classes from packages of this name only.
    module = types.ModuleType("hydra_plugins.rlformers_climber")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    package = importlib.import_module("hydra_plugins") if importlib.util.find_spec("hydra_plugins") else None
    package = package or types.ModuleType("hydra_plugins")
    monkeypatch.setattr(package, "__path__", getattr(package, "__path__", []), raising=False)
    monkeypatch.setitem(sys.modules, "hydra_plugins", package)
    monkeypatch.setattr(package, "rlformers_climber", module, raising=False)
    exec(PLUGIN, vars(module))
    Plugins.instance().register(module.Climber)
    return module.SEEN


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The runs that were asked for. The return is the learning rate, none at 0.4; at 0.8 the run is stopped once."""
    calls = []

    def train(config, run_dir, group=None):
        calls.append((config, run_dir, group))
        with StopRequest() as stop:
            if config.ppo.lr == 0.8 and not (run_dir / "again").exists():
                (run_dir / "again").touch()
                os.kill(os.getpid(), signal.SIGINT)
            if stop.received:
                raise Interrupted
        final = {
            "mean": None if config.ppo.lr == 0.4 else config.ppo.lr,
            "iqm": 1.0,
            "ci95": None,
            "per_seed": [1.0, 1.0],
        }
        summary = {
            "env": config.env,
            "core": config.core.name,
            "final_return": final,
            "completed": True,
            "seeds": [0, 1],
        }
        summary["total_steps"] = config.num_updates * config.batch_size
        (run_dir / "checkpoints" / str(config.num_updates)).mkdir(parents=True)
        rows = [json.dumps({"seed": seed, "step": summary["total_steps"]}) + "\n" for seed in summary["seeds"]]
        (run_dir / "metrics.jsonl").write_text("".join(rows))
        (run_dir / "summary.json").write_text(json.dumps(summary))
        return summary

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rlformers.experiment.training.train.train", train)
    monkeypatch.setattr("rlformers.experiment.program.build.check", lambda config: None)
    return calls


WORDS = ["train", "--multirun", "hydra/sweeper=climber", "ppo.lr=tag(log,interval(0.1,1))", "core=gru,s5", "seeds=2"]


def test_every_trial_is_a_run_of_its_own_and_its_final_return_the_objective(trained, climber, capsys):
    assert main([*WORDS, "run_dir=a=b"]) == 0
    assert [(config.ppo.lr, config.seeds, str(run_dir)) for config, run_dir, _ in trained] == [
        (0.1, 2, "a=b/0"),
        (0.2, 2, "a=b/1"),
        (0.4, 2, "a=b/2"),
    ]
    assert {group for *_, group in trained} == {"sweep a=b"}
    arguments, chosen, value = climber[0]
    assert arguments == ["ppo.lr=tag(log,interval(0.1,1))", "core.name=gru,s5"]
    assert (chosen, value, climber[1][2]) == (["ppo.lr=0.1", "core.name=gru"], 0.1, 0.2) and math.isnan(climber[2][2])
    out = capsys.readouterr().out
    assert "[2] ppo.lr=0.2 core=gru\n" in out and "3 of 3 runs finished" in out
    assert Path("a=b/1/config.yaml").exists()


def test_the_same_command_goes_on(trained, climber, capsys):
    command = [*WORDS, "hydra.sweeper.trials=4"]
    assert main(command) == 75
    (directory,) = Path("runs/multirun").iterdir()
    error = capsys.readouterr().err
    assert f"{directory} is not finished; the same command with run_dir={directory} continues it" in error
    assert len(trained) == 4
    assert main([*command, f"run_dir={directory}"]) == 0
    out = capsys.readouterr().out
    assert f"continuing the sweep in {directory}" in out and "[3] ppo.lr=0.4 core=gru: finished\n" in out
    assert len(trained) == 5 and trained[4][1] == trained[3][1] and climber[-1][2] == 0.8
    assert main([*WORDS, "hydra.sweeper.trials=5", f"run_dir={directory}"]) == 2
    assert f"run_dir: {directory} is the sweep of another command: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "words,message",
    [
        (["hydra/sweeper=optuna_"], "hydra/sweeper: 'optuna_' is not installed; is its plug-in installed?"),
        (["hydra/sweeper=ax"], "hydra/sweeper: 'ax' is not installed; pip install hydra-ax-sweeper"),
        (["hydra/launcher=ray"], "hydra/launcher: 'ray' is not installed; pip install hydra-ray-launcher"),
        (["hydra/sweeper=climber", "hydra.sweeper.speed=1"], "hydra: Could not override 'hydra.sweeper.speed'."),
        (["hydra/sweeper=climber", "ppo.lr=0.1"], "hydra/sweeper: no values to choose from"),
        (["hydra/sweeper=climber", "ppo.lrr=interval(0,1)"], "ppo.lrr: unknown key; did you mean 'ppo.lr'?"),
        (["hydra/sweeper=climber", "ppo.lr=interval(-1,1)"], "ppo.lr: need a positive number, got -1.0"),
        (
            ["hydra/sweeper=climber", "ppo.lr=1,2", "vmap_over=ppo.lr"],
            "vmap_over: cannot be used with hydra/sweeper, which",
        ),
        (["ppo.lr=interval(0,1)"], "ppo.lr: need values to choose from, e.g. 0.1,0.2, got an interval"),
    ],
)
def test_what_cannot_be_is_one_line(words, message, trained, climber, tmp_path, capsys):
    assert main(["train", "--multirun", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"rlformers: {message}") and error.count("\n") == 1
    assert not trained and not (tmp_path / "runs").exists()
