"""Lives of a run that logs to W&B: each goes on from a checkpoint, and some end by SIGKILL."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from rlformers.config.compose import compose
from rlformers.experiment.run_files.run_dir import write_config
from rlformers.experiment.tracking import JsonlSink, read_rows
from rlformers.experiment.tracking.wandb import WandbSink
from rlformers.experiment.tracking.wandb_held import history

WANDB = str(Path(sys.executable).with_name("wandb"))


def row(step: int, seed: int = 0) -> dict:
    """A row of the size that training makes; bit for bit the same whenever it is made."""
    return {"seed": seed, "step": step, "episode/return": step + seed / 2} | {
        f"ppo/{i}": step / i for i in range(1, 20)
    }


def summary(seeds: list[int], completed: bool = True) -> dict:
    return {"seeds": seeds, "final_return": {"per_seed": [seed + 0.5 for seed in seeds]}, "completed": completed}


def live(run_dir: Path, *overrides: str, steps: range, before: int = 0, covered: int = 0, seeds: int = 1) -> WandbSink:
    """Log some steps, to metrics.jsonl too, after a checkpoint at step `before` and up to one at `covered`."""
    config = compose([f"seeds={seeds}", *overrides])
    run_dir.mkdir(exist_ok=True)
    write_config(run_dir, config)
    path = run_dir / "metrics.jsonl"
    lines = path.read_bytes().splitlines(True) if before else []
    size = sum(len(line) for line in lines if json.loads(line)["step"] <= before)
    metrics = JsonlSink(path, size)
    sink = WandbSink(config, run_dir, "group", read_rows(path))
    for step in steps:
        for seed in range(seeds):
            metrics.log(row(step, seed))
            sink.log(row(step, seed))
    sink.commit(covered)
    metrics.finish({})
    return sink


def killed(*arguments: object, after: float = 0, written: int = 0, **options: object) -> None:
    """`live` in a process of its own that dies by SIGKILL, `after` seconds later and with `written` local rows."""
    code = (
        "import os, signal, sys, time; from pathlib import Path; from wandb_lives import live\n"
        "from rlformers.experiment.tracking.wandb_held import local_rows\n"
        f"sink = live(run_dir := Path({str(arguments[0])!r}), *{arguments[1:]!r}, **{options!r})\n"
        f"time.sleep({after})\n"
        f"while len(local_rows(run_dir, sink.series[0].run.id)) < {written}: time.sleep(0.05)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, timeout=120)
    assert done.returncode == -signal.SIGKILL


def cut(run_dir: Path, run_id: str, rows: int) -> None:
    """Leave a run's only local file as its writer's death would at that place: so many rows and most of the next.

    The writer is a process of its own, which outlives the training a little: it goes on in a file
    that is gone.
    """
    (file,) = (run_dir / "wandb").glob(f"*run-*-{run_id}/run-{run_id}.wandb")
    data, ends = file.read_bytes(), [end for _, end in history(file)]
    file.unlink()
    file.write_bytes(data[: ends[rows] - 20])


def upload(run_dir: Path) -> str:
    """`wandb sync` as the line at the end of an offline training says."""
    pieces = sorted(str(path) for path in (run_dir / "wandb").glob("offline-run-*"))
    command = [WANDB, "sync", *pieces]  # it writes logs into a folder of its own, where it is called
    return subprocess.run(command, cwd=run_dir.parent, capture_output=True, text=True, check=True).stderr
