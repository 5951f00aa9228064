"""Sinks: valid JSON whatever the numbers, TensorBoard, and Weights & Biases without a key, a prompt or a server."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from rlformers.config import ExperimentConfig, WandbConfig
from rlformers.config.compose import compose
from rlformers.experiment.sweeps.multirun import multirun
from rlformers.experiment.tracking import JsonlSink, read_rows
from rlformers.experiment.tracking.wandb import WandbSink
from rlformers.experiment.tracking.wandb_identity import identity
from rlformers.experiment.tracking.wandb_mode import choose_mode

SUMMARY = {"seeds": [3, 4], "final_return": {"per_seed": [0.5, None]}, "completed": True}


def test_jsonl_is_valid_json_at_any_moment(tmp_path):
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    sink.log({"seed": 0, "step": 1, "a": float("nan"), "b": float("inf"), "c": None, "d": 0.5})
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()  # flushed: readable before finish
    assert json.loads(line) == {"seed": 0, "step": 1, "a": None, "b": None, "c": None, "d": 0.5}
    sink.finish(SUMMARY)


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
    assert choose_mode(asked) == mode


@pytest.mark.parametrize("server,mode", [(None, "online"), ("https://wandb.example.org", "offline")])
def test_a_key_in_netrc_is_one_for_its_server(server, mode, no_key, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password " + "0" * 40 + "\n")
    (tmp_path / ".netrc").chmod(0o600)
    if server:
        monkeypatch.setenv("WANDB_BASE_URL", server)
    assert choose_mode("auto") == mode


def test_disabled_does_not_import_wandb(tmp_path):
    code = (
        "import sys; from pathlib import Path; from rlformers.config.compose import compose\n"
        "from rlformers.experiment.tracking import open_views\n"
        "assert open_views(compose(['wandb.mode=disabled']), Path('.'), None, 0) == []\n"
        "assert 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_an_offline_run_can_be_read_back(no_key, tmp_path, capsys):
    overrides = ["wandb.mode=offline", "wandb.project=a/b", "wandb.tags=[mine]", "seeds=2", "seed=3", "core=s5"]
    sink = WandbSink(compose(overrides), tmp_path, "the group")
    for step in (8192, 16384):
        for seed in (3, 4):
            sink.log({"seed": seed, "step": step, "episode/return": step / 8192 + seed, "ppo/loss": None})
    sink.finish(SUMMARY)
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
        assert (found["project"], found["state"]) == ("a-b", "finished")
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

        def log(self, values):
            raise OSError("disk full")

    def init(**kwargs):
        if moment == "init":
            raise RuntimeError("broken")
        return Run()

    monkeypatch.setattr(wandb, "init", init)
    config = ExperimentConfig(wandb=WandbConfig(mode="offline"))
    sink = WandbSink(config, tmp_path, None)
    sink.log({"seed": 0, "step": 1, "episode/return": 1.0})
    sink.commit(1)
    sink.log({"seed": 0, "step": 2, "episode/return": 1.0})
    sink.finish(SUMMARY)
    reason = "RuntimeError: broken" if moment == "init" else "OSError: disk full"
    assert capsys.readouterr().out.count(f"wandb: {reason}; continuing without it") == 1


def test_runs_keep_their_ids_when_training_is_resumed(tmp_path):
    config = compose(["seed=3", "seeds=2"])
    first = identity(config, tmp_path, "first")
    assert first.group == "first" and list(first.ids) == ["3", "4"] and len(set(first.ids.values())) == 2
    assert list(first.members(config).values()) == [[3], [4]]
    assert identity(config, tmp_path, "second") == first


def test_an_agent_and_another_run_do_not_share_a_directory(tmp_path, monkeypatch):
    config = compose([])
    identity(config, tmp_path, None)
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    monkeypatch.setenv("WANDB_RUN_ID", "trial")
    with pytest.raises(ValueError, match="belongs to other runs than trial trial of the agent; leave run_dir out"):
        identity(config, tmp_path, None)
    with pytest.raises(ValueError, match="--multirun: a trial of `wandb agent` is one run"):
        multirun(["core=gru,s5"])


def test_rows_are_read_up_to_where_their_writer_died(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_rows(path) == []
    path.write_text('{"seed": 0, "step": 1}\n{"seed": 0, "st')
    assert read_rows(path) == [{"seed": 0, "step": 1}]
    path.write_text('{"seed": 0, "step": 1}\n{"seed": 0}\n')
    with pytest.raises(ValueError, match="metrics.jsonl: line 2 is not a row of metrics"):
        read_rows(path)


def scalars(folder: Path) -> dict[int, dict[str, float]]:
    """What TensorBoard shows: a start discards earlier records of its step and later ones."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[int, dict[str, float]] = {}
    for file in sorted(folder.glob("events.*")):
        data = file.read_bytes()
        while len(data) > 8 and len(data) >= 16 + struct.unpack("<Q", data[:8])[0]:
            (length,) = struct.unpack("<Q", data[:8])
            event, data = Event.FromString(data[12 : 12 + length]), data[16 + length :]
            if event.HasField("session_log"):
                found = {step: values for step, values in found.items() if step < event.step}
            for value in event.summary.value:
                assert value.tag not in found.setdefault(event.step, {}), "a row twice"
                found[event.step][value.tag] = value.simple_value
    return found


def test_tensorboard_shows_each_row_once_after_a_resume(tmp_path):
    pytest.importorskip("tensorboardX")
    from rlformers.experiment.tracking import tensorboard

    def row(step, life, seed=0):
        return {"seed": seed, "step": step, "x": float(step), "life": life, "nothing": None}

    path, folder = tmp_path / "metrics.jsonl", tmp_path / "tensorboard" / "seed_0"

    def live(life: int, before: int, steps: list[int]):
        """Log steps after a checkpoint at `before`, as a process that is killed then."""
        lines = read_rows(path)[: 2 * before]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        sink = tensorboard.TensorboardSink(tmp_path, lines, before)
        for step in steps:
            for seed in (0, 1):
                sink.log(row(step, life, seed))
                with path.open("a") as file:
                    file.write(json.dumps(row(step, life, seed)) + "\n")
        sink.commit(steps[-1])
        return sink

    live(1, 0, [1, 2, 3, 4])
    live(2, 2, [3, 4, 5])
    assert {step: values["life"] for step, values in scalars(folder).items()} == {1: 1, 2: 1, 3: 2, 4: 2, 5: 2}
    for file in folder.glob("events.*"):  # the last record of each file did not reach the disk
        file.write_bytes(file.read_bytes()[:-1])
    live(3, 5, [6]).finish({})
    assert scalars(folder)[5] == {"x": 5, "life": 2} and sorted(scalars(folder)) == [1, 2, 3, 4, 5, 6]
    assert sorted(scalars(tmp_path / "tensorboard" / "seed_1")) == [1, 2, 3, 4, 5, 6]
