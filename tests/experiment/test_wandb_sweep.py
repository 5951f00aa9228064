"""The sweeps in `examples/sweeps`, by the real `wandb sweep` and `wandb agent` against the stand-in for the server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from wandb_stub import ENTITY, SWEEP, Server

from rlformers.config.compose import compose
from rlformers.experiment.tracking import read_rows

SWEEPS = Path(__file__).parents[2] / "examples" / "sweeps"
BIN = Path(sys.executable).parent
TINY = {"ppo.num_envs": 4, "ppo.num_steps": 16, "ppo.num_minibatches": 2, "ppo.update_epochs": 1, "model.width": 8}
TINY |= {"total_steps": 256, "seeds": 2, "log_every": 1}


@pytest.mark.parametrize("name", ["grid.yaml", "random.yaml"])
def test_the_parameters_are_keys_of_train(name):
    sweep = yaml.safe_load((SWEEPS / name).read_text())
    values = {
        key: [entry["value"]] if "value" in entry else entry.get("values") or [entry["min"], entry["max"]]
        for key, entry in sweep["parameters"].items()
    }
    for number in range(max(map(len, values.values()))):
        chosen = {key: choices[number % len(choices)] for key, choices in values.items()}
        config = compose([f"{key}={value}" for key, value in chosen.items()])
        assert (config.env, config.core.name, config.ppo.lr) == (chosen["env"], chosen["core"], chosen["ppo.lr"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,swept,trials",
    [
        ("grid.yaml", {"core": {"values": ["gru", "mlp"]}, "ppo.lr": {"values": [0.001, 0.0003]}}, 4),
        ("random.yaml", {"core": {"value": "mlp"}, "ppo.lr": {"min": 0.0001, "max": 0.001}}, 2),
    ],
)
def test_an_agent_runs_the_trials_of_a_sweep(name, swept, trials, tmp_path):
    sweep = yaml.safe_load((SWEEPS / name).read_text())
    sweep["parameters"] = {key: {"value": value} for key, value in TINY.items()} | swept
    sweep |= {"run_cap": trials} if "run_cap" in sweep else {}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    with Server() as server:
        environment = os.environ | server.environment | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        environment.pop("WANDB_MODE")

        def wandb(*words: str) -> str:
            command = [str(BIN / "wandb"), *words]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)
            assert done.returncode == 0, done.stderr
            return done.stdout + done.stderr

        path = f"{ENTITY}/rlformers/{SWEEP}"
        assert f"wandb agent {path}" in wandb("sweep", "sweep.yaml")
        wandb("agent", path)
        runs = list(server.runs.values())
    assert len(server.trials) == trials and [run.name for run in runs] == [f"trial{n + 1}" for n in range(trials)]
    rows = {run_dir.parent: read_rows(run_dir) for run_dir in tmp_path.glob("runs/**/metrics.jsonl")}
    assert len(rows) == trials
    by_trial = {yaml.safe_load((path / "wandb" / "ids.json").read_text())["trial"]: path for path in rows}
    for run, trial in zip(runs, server.trials, strict=True):
        assert run.exit_code == 0 and run.bucket["sweep"] == SWEEP and run.column("env_steps") == [64, 128, 192, 256]
        config = yaml.safe_load((by_trial[run.name] / "config.yaml").read_text())
        assert (config["core"]["name"], config["ppo"]["lr"]) == (trial["core"], trial["ppo.lr"])
        assert (run.config["core"], run.config["ppo.lr"]) == (trial["core"], trial["ppo.lr"])  # as the sweep names them
        last = [row for row in rows[by_trial[run.name]] if row["step"] == 256]
        assert run.summary["final_return"] is not None
        assert run.column("ppo/entropy")[-1] == pytest.approx(sum(row["ppo/entropy"] for row in last) / 2)
