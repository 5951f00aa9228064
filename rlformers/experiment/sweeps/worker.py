"""The task of a launcher: one program of a sweep, with one run or with several that differ only in numbers."""

import functools
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlformers.experiment.checkpoints.resume import common, failure
from rlformers.experiment.run_files.error_file import described, note
from rlformers.experiment.run_files.run_dir import create_run_dir
from rlformers.experiment.sweeps.record import Job, Sweep
from rlformers.experiment.training.stop_request import Interrupted, StopRequest


def plan(directory: Path, jobs: Sequence[Job], programs: Sequence[Sequence[int]]) -> None:
    """Write the plan of the sweep for `run`, which other processes may call.

    It is not an argument of `run`, because launchers copy arguments for every program.
    """
    path = directory / "launcher" / "plan.pickle"
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(pickle.dumps((Sweep(directory).group, list(jobs), list(programs))))
    unfinished.replace(path)


@functools.lru_cache(1)
def _planned(directory: Path, _: int) -> tuple[str, list[Job], list[Sequence[int]]]:
    return pickle.loads((directory / "launcher" / "plan.pickle").read_bytes())


def run_as_launched(config: Any, directory: Path) -> None:
    """`run` for a launcher of Hydra, which passes a configuration with the number of the program."""
    run(int(config.program), directory)


def run(program: int, directory: Path) -> None:
    """Train the runs of one program and write down their statuses.

    Args:
        program: Its number in the plan.
        directory: The directory of the sweep, with a plan.
    """
    written = (directory / "launcher" / "plan.pickle").stat().st_mtime_ns
    group, jobs, programs = _planned(directory.resolve(), written)
    sweep, numbers = Sweep(directory), programs[program]
    with StopRequest(watch=sweep.stop_file) as stop:
        for part in _parts(jobs, numbers):
            if stop.received:
                return
            for number in part:
                print(f"[{number + 1}/{len(jobs)}] {jobs[number].name}", flush=True)
                sweep.set(number, "running")
            if len(part) > 1:
                print(f"{len(part)} runs in one program", flush=True)
            for number, (status, error) in zip(part, train_jobs([jobs[number] for number in part], group), strict=True):
                sweep.set(number, status, error)


def _parts(jobs: Sequence[Job], numbers: Sequence[int]) -> list[list[int]]:
    """Group the runs that can continue together: a run that failed is behind the others of its program."""
    if len(numbers) == 1:
        return [list(numbers)]
    failed = [number for number in numbers if failure(Path(str(jobs[number].config.run_dir)))]
    rest = [number for number in numbers if number not in failed]
    configs = [jobs[number].config for number in rest]
    if rest and common([Path(str(config.run_dir)) for config in configs], configs, lambda line: None) is None:
        print(
            f"vmap_over: {len(rest)} runs have no checkpoint of the same update; they train one after the other",
            flush=True,
        )
        return [[number] for number in numbers]
    return [*([rest] if rest else []), *([number] for number in failed)]


def train_jobs(jobs: Sequence[Job], group: str) -> list[tuple[str, str | None]]:
    """Train jobs in one program and one W&B group; return the status and the error of each."""
    from rlformers.experiment.training.train import train, train_together

    run_dirs: list[Path] = []
    try:
        run_dirs = [create_run_dir(job.config) for job in jobs]
        if len(jobs) == 1:
            train(jobs[0].config, run_dirs[0], group)
            return [("finished", None)]
        outcomes = train_together([job.config for job in jobs], run_dirs, group)
    except Interrupted:
        return [("stopped", None)]
    except Exception as error:  # the failure of one program must not stop the others
        note(error, run_dirs, "train")
        return [_failed(error)] * len(jobs)
    return [
        _failed(outcome)
        if isinstance(outcome, Exception)
        else ("finished" if outcome["completed"] else "stopped", None)
        for outcome in outcomes
    ]


def _failed(error: Exception) -> tuple[str, str]:
    message, traceback = described(error, named=True)
    print(f"{traceback}FAILED ({message})", flush=True)
    return "failed", message
