"""Loggers: valid JSON whatever the numbers, and Weights & Biases without a key, a prompt or a server."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rlformers.experiment.loggers import JsonlLogger, WandbLogger

from rlformers.compose import compose
from rlformers.config import ExperimentConfig, WandbConfig

SUMMARY = {"final_return": {"per_seed": [0.5, None]}, "completed": True}


def test_jsonl_is_valid_json_at_any_moment(tmp_path):
    logger = JsonlLogger(tmp_path / "metrics.jsonl")
    logger.log({"seed": 0, "step": 1, "a": float("nan"), "b": float("inf"), "c": None, "d": 0.5})
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()  # flushed: readable before finish
    assert json.loads(line) == {"seed": 0, "step": 1, "a": None, "b": None, "c": None, "d": 0.5}
    logger.finish(SUMMARY)


@pytest.fixture
def no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "asked,variable,mode",
    [
        ("auto", None, "offline"),
        ("auto", "disabled", "disabled"),
        ("auto", "dryrun", "offline"),
        ("online", None, "offline"),
        ("offline", "online", "offline"),
        ("disabled", "online", "disabled"),
    ],
)
def test_mode_without_a_key(asked, variable, mode, no_key, monkeypatch, tmp_path):
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    logger = WandbLogger(compose([f"wandb.mode={asked}"]), tmp_path, None, [])
    assert logger.mode == mode


@pytest.mark.parametrize("server,mode", [(None, "online"), ("https://wandb.example.org", "offline")])
def test_a_key_in_netrc_is_one_for_its_server(server, mode, no_key, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password " + "0" * 40 + "\n")
    (tmp_path / ".netrc").chmod(0o600)
    if server:
        monkeypatch.setenv("WANDB_BASE_URL", server)
    assert WandbLogger(compose([]), tmp_path, None, []).mode == mode


def test_disabled_does_not_import_wandb(tmp_path):
    code = (
        "import sys; from pathlib import Path; from rlformers.compose import compose\n"
        "from rlformers.experiment.loggers import WandbLogger\n"
        "logger = WandbLogger(compose(['wandb.mode=disabled']), Path('.'), None, [0])\n"
        "logger.log({'seed': 0, 'step': 1})\n"
        "assert 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_an_offline_run_can_be_read_back(no_key, tmp_path, capsys):
    overrides = ["wandb.mode=offline", "wandb.project=a/b", "wandb.tags=[mine]", "seeds=2", "seed=3", "core=s5"]
    logger = WandbLogger(compose(overrides), tmp_path, "the group", [3, 4])
    for step in (8192, 16384):
        for seed in (3, 4):
            logger.log({"seed": seed, "step": step, "episode/return": step / 8192 + seed, "ppo/loss": None})
    logger.finish(SUMMARY)
    assert f"wandb sync {tmp_path}" in capsys.readouterr().out
    wandb = Path(sys.executable).with_name("wandb")
    runs = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert len(runs) == 2
    seeds = set()
    for run in runs:
        command = [str(wandb), "leet", "inspect", "--json", str(run)]
        records = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "the group" in records
        command.insert(3, "--summary")
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        assert (found["project"], found["state"], found["step"]) == ("a-b", "finished", 16384)
        seed = found["config"]["seed"]
        seeds.add(seed)
        assert found["config"]["core"]["name"] == "s5"
        assert found["summary"]["env_steps"] == 16384 and found["summary"]["episode/return"] == 2 + seed
        assert "ppo/loss" not in found["summary"] and "mine" in found["tags"]
    assert seeds == {3, 4}


@pytest.mark.parametrize("moment", ["init", "log"])
def test_training_survives_wandb(moment, tmp_path, monkeypatch, capsys):
    import wandb

    class Run:
        def define_metric(self, *args, **kwargs):
            pass

        def log(self, values, step):
            raise OSError("disk full")

    def init(**kwargs):
        if moment == "init":
            raise RuntimeError("broken")
        return Run()

    monkeypatch.setattr(wandb, "init", init)
    config = ExperimentConfig(wandb=WandbConfig(mode="offline"))
    logger = WandbLogger(config, tmp_path, None, [0])
    logger.log({"seed": 0, "step": 1, "episode/return": 1.0})
    logger.log({"seed": 0, "step": 2, "episode/return": 1.0})
    logger.finish({"final_return": {"per_seed": [1.0]}, "completed": True})
    reason = "RuntimeError: broken" if moment == "init" else "OSError: disk full"
    assert capsys.readouterr().out.count(f"wandb: {reason}; going on without it") == 1


def test_runs_keep_their_ids_when_training_is_resumed(tmp_path):
    config = compose(["wandb.mode=disabled"])
    group, ids = WandbLogger(config, tmp_path, None, [3, 4])._identity("first", [3, 4])
    assert group == "first" and list(ids) == ["3", "4"] and len(set(ids.values())) == 2
    assert WandbLogger(config, tmp_path, None, [3, 4])._identity("second", [3, 4]) == (group, ids)
