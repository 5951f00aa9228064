"""Sweeps with a fake training: what runs, what failures and signals do, what the same command does next."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlformers.command.main import main
from rlformers.errors import UserError
from rlformers.experiment.run_files.run_dir import locked
from rlformers.experiment.sweeps.record import Sweep
from rlformers.experiment.training.stop_request import Interrupted, StopRequest

FINAL = {"mean": 1.0, "iqm": 1.0, "ci95": None, "per_seed": [1.0]}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Names, groups and directories of the runs that were asked for; core mlp fails, and lstm gets a SIGINT."""
    calls = []

    def train(config, run_dir, group=None):
        calls.append((config, run_dir, group))
        if config.core.name == "mlp":
            raise FloatingPointError("loss is nan\nand more")
        with StopRequest() as stop:
            if config.core.name == "lstm" and not (run_dir / "again").exists():
                (run_dir / "again").touch()
                os.kill(os.getpid(), signal.SIGINT)
            if stop.received:
                raise Interrupted
        seeds, steps = list(range(config.seed, config.seed + config.seeds)), config.num_updates * config.batch_size
        final = FINAL | {"per_seed": FINAL["per_seed"][:1] * config.seeds}
        summary = {"env": config.env, "core": config.core.name, "seeds": seeds, "final_return": final}
        summary |= {"completed": True, "total_steps": steps}
        rows = [json.dumps({"seed": seed, "step": steps}) + "\n" for seed in seeds]
        (run_dir / "metrics.jsonl").write_text("".join(rows))
        (run_dir / "summary.json").write_text(json.dumps(summary))
        return summary

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rlformers.experiment.training.train.train", train)
    monkeypatch.setattr("rlformers.experiment.program.build.check", lambda config: None)
    return calls


def cores(calls):
    return [config.core.name for config, _, _ in calls]


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
    (directory,) = (tmp_path / "runs" / "multirun").iterdir()
    assert f"rlformers report {directory.relative_to(tmp_path)} --out report\n" in out
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_failing_run_does_not_stop_the_others(trained, capsys):
    assert main(["train", "-m", "core=mlp,gru"]) == 1
    out = capsys.readouterr().out
    assert len(trained) == 2 and "1 of 2 runs finished" in out
    where = trained[0][1]
    assert f"FAILED (FloatingPointError: loss is nan; traceback in {where}/error.txt)  {where}" in out
    assert "loss is nan" in (Path(where) / "error.txt").read_text()


def test_the_same_command_goes_on(trained, capsys):
    command = ["train", "-m", "core=gru,lstm,mlp,s5", "ppo.lr=0.1"]
    assert main(command) == 75
    captured = capsys.readouterr()
    assert cores(trained) == ["gru", "lstm"]
    assert "1 of 4 runs finished" in captured.out and "core=s5  waiting  runs/" in captured.out
    (directory,) = Path("runs/multirun").iterdir()
    assert f"the sweep in {directory} is not finished; the same command continues it\n" in captured.err
    (directory / "newer.json").write_text("no record")
    # The order of the values and the way of running do not make another sweep.
    assert main(["train", "-m", "core=s5,mlp,lstm,gru", "ppo.lr=1e-1", "chunk_seconds=1"]) == 1
    out = capsys.readouterr().out
    assert f"continuing the sweep in {directory}; --new starts anew\n[1/4] core=gru: finished, " in out
    assert "3 of 4 runs finished" in out and "FAILED (FloatingPointError: loss is nan; traceback in " in out
    assert cores(trained[2:]) == ["lstm", "mlp", "s5"]
    assert trained[1][1:] == trained[2][1:]  # directory and group
    assert len({group for _, _, group in trained}) == 1
    # Only failed runs are tried again.
    assert main(command) == 1 and cores(trained[5:]) == ["mlp"]
    assert len(list(Path("runs/multirun").iterdir())) == 1
    # Other values are another sweep.
    assert main(["train", "-m", "core=gru,lstm,mlp,s5", "ppo.lr=0.2"]) == 75
    assert len(list(Path("runs/multirun").iterdir())) == 2


def test_a_finished_sweep_starts_anew_and_so_does_new(trained, capsys):
    for number, words in enumerate([[], [], ["--new"]], 1):
        assert main(["train", "-m", "core=gru,s5", *words]) == 0
        assert "continuing" not in capsys.readouterr().out
        assert len(trained) == 2 * number == len({run_dir for _, run_dir, _ in trained})
    assert main(["train", "core=gru", "--new"]) == 2
    assert "--new: works with --multirun only" in capsys.readouterr().err


def test_an_explicit_run_dir_is_the_sweep(trained, tmp_path, capsys):
    command = ["train", "-m", "core=gru,lstm", "run_dir='my, runs'"]
    assert main(command) == 75
    assert sorted(path.name for path in (tmp_path / "my, runs").glob("[!.]*")) == [
        *("0", "1", "launcher", "statuses.jsonl", "sweep.json")
    ]
    assert main(command) == 0 and cores(trained) == ["gru", "lstm", "lstm"]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    capsys.readouterr()
    assert main(command) == 0 and len(trained) == 3
    captured = capsys.readouterr()
    assert "the sweep in my, runs is finished" in captured.out and "2 of 2 runs finished" in captured.out
    assert main(["train", "-m", "core=gru,s5", "run_dir='my, runs'"]) == 2
    assert "run_dir: my, runs is another sweep (core=gru, core=lstm)" in capsys.readouterr().err
    assert main([*command, "--new"]) == 2
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert main(["train", "-m", "core=gru,s5", "run_dir='my, runs/0'"]) == 2
    assert "exists and is not a sweep" in capsys.readouterr().err
    assert len(trained) == 3


def test_a_sweep_is_found_from_anywhere_and_can_be_moved(trained, tmp_path, monkeypatch, capsys):
    assert main(["train", "-m", "core=gru,lstm", "run_dir=sweep"]) == 75
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", "-m", "core=gru,lstm", f"run_dir={tmp_path / 'sweep'}"]) == 0
    assert cores(trained) == ["gru", "lstm", "lstm"] and trained[2][1] == tmp_path / "sweep" / "1"
    moved = (tmp_path / "sweep").rename(tmp_path / "moved")
    capsys.readouterr()
    assert main(["train", "-m", "core=gru,lstm", f"run_dir={moved}"]) == 0 and len(trained) == 3
    assert f"core=gru  {trained[0][0].env} gru: final return IQM 1.000, worst seed 1.000  {moved}/0" in (
        capsys.readouterr().out
    )
    assert not list((tmp_path / "elsewhere").iterdir())
    # Runs without their own directory lie beside the sweep's.
    assert main(["train", "-m", "core=gru,s5"]) == 0
    (directory,) = (tmp_path / "elsewhere" / "runs" / "multirun").iterdir()
    assert [run["run_dir"] for run in Sweep(directory).runs] == [str(Path.cwd() / call[1]) for call in trained[3:]]


def test_a_record_of_the_first_schema_is_gone_on_with(trained):
    command = ["train", "-m", "core=gru,lstm", "run_dir=sweep"]
    assert main(command) == 75
    record = json.loads(Path("sweep/sweep.json").read_text())
    record["schema"] = 1
    for run in record["runs"]:
        run["run_dir"] = f"sweep/{run['run_dir']}"
    Path("sweep/sweep.json").write_text(json.dumps(record))
    assert main(command) == 0 and cores(trained) == ["gru", "lstm", "lstm"]
    assert trained[2][1] == Path("sweep/1")


def test_one_process_at_a_time(trained, capsys):
    assert main(["train", "-m", "core=lstm,gru"]) == 75
    (directory,) = Path("runs/multirun").iterdir()
    with locked(directory):
        assert main(["train", "-m", "core=lstm,gru"]) == 2
    assert capsys.readouterr().err.endswith(
        f"{directory} is in use by process {os.getpid()} on {os.uname().nodename}\n"
    )
    assert len(trained) == 1


def test_a_stop_reaches_other_processes(tmp_path):
    with StopRequest(watch=tmp_path / "stop") as worker:
        assert not worker.received
    with StopRequest(announce=tmp_path / "stop") as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received
    with StopRequest(watch=tmp_path / "stop") as worker, StopRequest() as inner:
        assert worker.received and inner.received


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("multirun", [[], ["--multirun"]])
@pytest.mark.parametrize(
    "place", ["rlformers.config.compose.registry.load", "rlformers.experiment.program.build.check"]
)
def test_a_signal_before_anything_trains_is_one_to_try_again(place, multirun, number, trained, monkeypatch, capsys):
    previous = signal.signal(number, lambda *_: (_ for _ in ()).throw(SystemExit(99)))
    monkeypatch.setattr(place, lambda *_: os.kill(os.getpid(), number) or time.sleep(5))
    try:
        assert main(["train", *multirun, "core=gru"]) == 75
    finally:
        signal.signal(number, previous)
    assert capsys.readouterr().err.endswith(
        f"{signal.Signals(number).name}: stopped before anything ran; run the same command again\n"
    )
    assert not trained


def test_a_signal_that_came_to_nothing_stops_what_is_entered_later_and_tells_others(tmp_path):
    with StopRequest(idle=True) as outer:
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        with StopRequest(announce=tmp_path / "stop") as inner:
            assert outer.received and inner.received and (tmp_path / "stop").exists()
    with StopRequest(idle=True), StopRequest(announce=tmp_path / "later"), StopRequest() as innermost:
        os.kill(os.getpid(), signal.SIGTERM)
        assert innermost.received and (tmp_path / "later").exists()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigtimedwait([], 1)  # until it is delivered


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
        (["core=gru,s5", "vmap_over=core"], "vmap_over: 'core' is not one of the numbers ppo.lr, ppo.gamma, "),
        (
            ["ppo.lr=0.1,0.2", "vmap_over=[ppo.lr,ppo.num_steps]"],
            "vmap_over: 'ppo.num_steps' is not one of the numbers",
        ),
        (["ppo.lr=0.1,0.2", "vmap_over=ppo.gamma"], "vmap_over: ppo.gamma has no values to choose from"),
        (["ppo.lr=[0.1]", "vmap_over=ppo.lr"], "vmap_over: ppo.lr has no values to choose from"),
        (["ppo.lr=[0.1,fast]", "vmap_over=ppo.lr"], "ppo.lr: need a float, got 'fast'"),
        (["ppo.lr=[0.1, 0.2]"], "got '[0.1, 0.2]'; several values: --multirun vmap_over=ppo.lr ppo.lr=0.1,0.2\n"),
    ],
)
def test_one_bad_combination_costs_nothing(overrides, words, trained, tmp_path, capsys):
    assert main(["train", "--multirun", *overrides]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not trained and not list(tmp_path.iterdir())


def test_vmapped_values_may_be_a_list(trained, monkeypatch):
    together = []
    monkeypatch.setattr(
        "rlformers.experiment.training.train.train_together",
        lambda configs, *_: (
            together.append([config.ppo.lr for config in configs]) or [{"completed": True}] * len(configs)
        ),
    )
    main(["train", "--multirun", "ppo.lr=[0.1, 2e-1]", "core=gru,s5", "vmap_over=[ppo.lr]"])
    assert together == [[0.1, 0.2]] * 2 and not trained


def test_what_fails_in_the_check_names_the_combination(trained, tmp_path, monkeypatch, capsys):
    def check(config):
        if config.core.name == "s5":
            raise UserError("model.width: no")

    monkeypatch.setattr("rlformers.experiment.program.build.check", check)
    assert main(["train", "--multirun", "core=gru,s5"]) == 2
    assert capsys.readouterr().err == "rlformers: model.width: no (in core=s5)\n"
    assert not trained and not list(tmp_path.iterdir())


SMALL = ["ppo.num_envs=4", "ppo.num_steps=16", "ppo.num_minibatches=2", "ppo.update_epochs=1", "model.width=8"]
SMALL += [
    "core=mlp,gru",
    "env=popgym/RepeatPreviousEasy,memory/TMaze",
    "seeds=2",
    "total_steps=6400",
    "chunk_seconds=0.02",
]


@pytest.mark.slow
def test_a_process_that_gets_sigint(tmp_path):
    command = [sys.executable, "-m", "rlformers", "train", "--multirun", *SMALL, "log_every=1", "wandb.mode=disabled"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    while (line := process.stdout.readline()) and "[2/4]" not in line:
        pass
    while not any(tmp_path.glob("runs/memory/TMaze/mlp/*/metrics.jsonl")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out = process.communicate()[0]
    assert process.returncode == 75 and "1 of 4 runs finished" in out and "stopped  runs/memory/TMaze/mlp" in out
    finished = next(tmp_path.glob("runs/popgym/RepeatPreviousEasy/mlp/*/metrics.jsonl"))
    before = finished.stat().st_mtime_ns
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0 and "4 of 4 runs finished" in again.stdout
    assert "[1/4] core=mlp env=popgym/RepeatPreviousEasy: finished, " in again.stdout
    assert finished.stat().st_mtime_ns == before
    runs = list(tmp_path.glob("runs/*/*/*/*/metrics.jsonl"))
    assert len(runs) == 4
    for run in runs:
        assert [json.loads(line)["step"] for line in run.read_text().splitlines()][::2] == list(range(64, 6401, 64))


@pytest.mark.slow
@pytest.mark.parametrize("launcher,package", [("joblib", "joblib"), ("submitit_local", "submitit")])
def test_launchers_of_other_packages_run_the_same_runs(launcher, package, tmp_path):
    pytest.importorskip(f"hydra_plugins.hydra_{package}_launcher")
    words = [*SMALL[:5], "core=mlp,gru", "total_steps=640", "wandb.mode=disabled", f"hydra/launcher={launcher}"]
    command = [sys.executable, "-m", "rlformers", "train", "--multirun", *words, "run_dir=sweep"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0 and "2 of 2 runs finished" in found.stdout, found.stderr
    for run_dir, core in (("0", "mlp"), ("1", "gru")):
        summary = json.loads((tmp_path / "sweep" / run_dir / "summary.json").read_text())
        assert summary["completed"] and summary["core"] == core
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0 and "the sweep in sweep is finished" in again.stdout
