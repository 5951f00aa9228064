"""What a launcher runs: one program of a sweep, of one run or of several that differ in numbers only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlformers.experiment.checkpoints.resume import common, failure
from rlformers.experiment.run_files.error_file import described, note
from rlformers.experiment.run_files.run_dir import create_run_dir
from rlformers.experiment.sweeps.record import Job, Sweep
from rlformers.experiment.training.stop_request import Interrupted, StopRequest


def run(config: Any, jobs: Sequence[Job], programs: Sequence[Sequence[int]], directory: Path) -> None:
    """Train the runs of one program and write down what became of them; called where the launcher wants it.

    Args:
        config: Hydra's, with the number of the program.
        jobs: All of the sweep.
        programs: The numbers of their jobs.
        directory: Of the sweep.
    """
    sweep, numbers = Sweep(directory), programs[int(config.program)]
    with StopRequest(watch=sweep.stop_file) as stop:
        for part in _parts(jobs, numbers):
            if stop.received:
                return
            for number in part:
                print(f"[{number + 1}/{len(jobs)}] {jobs[number].name}", flush=True)
                sweep.set(number, "running")
            if len(part) > 1:
                print(f"{len(part)} runs in one program", flush=True)
            for number, (status, error) in zip(part, _train([jobs[number] for number in part], sweep), strict=True):
                sweep.set(number, status, error)


def _parts(jobs: Sequence[Job], numbers: Sequence[int]) -> list[list[int]]:
    """Those together that can go on together: what failed has fallen behind the others of its program."""
    if len(numbers) == 1:
        return [list(numbers)]
    failed = [number for number in numbers if failure(Path(str(jobs[number].config.run_dir)))]
    rest = [number for number in numbers if number not in failed]
    configs = [jobs[number].config for number in rest]
    if rest and common([Path(str(config.run_dir)) for config in configs], configs, lambda line: None) is None:
        print(f"vmap_over: {len(rest)} runs are not after the same update; one after the other", flush=True)
        return [[number] for number in numbers]
    return [*([rest] if rest else []), *([number] for number in failed)]


def _train(jobs: Sequence[Job], sweep: Sweep) -> list[tuple[str, str | None]]:
    """Train jobs in one program; what became of each, and its error."""
    from rlformers.experiment.training.train import train, train_together

    run_dirs: list[Path] = []
    try:
        run_dirs = [create_run_dir(job.config) for job in jobs]
        if len(jobs) == 1:
            train(jobs[0].config, run_dirs[0], sweep.group)
            return [("finished", None)]
        outcomes = train_together([job.config for job in jobs], run_dirs, sweep.group)
    except Interrupted:
        return [("stopped", None)]
    except Exception as error:  # one program must not take the others with it
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
