"""The record of a sweep: its runs, their directories and their results.

    SWEEP_DIR/sweep.json        {"schema": 3, "group": ..., "command": [...], "runs": [
                                  {"name": "core=s5 seed=1", "run_dir": ..., "config": {...}}]}
    SWEEP_DIR/statuses.jsonl    {"run": 0, "status": ..., "error": ...}: a line for every change, the last one counts.
                                  The first line of a run that a sweeper added also holds its entry of `runs`
    SWEEP_DIR/launcher/         files of Hydra and its launcher, such as the logs of SLURM jobs
    SWEEP_DIR/.stop             exists after the sweep has been asked to stop

Statuses are waiting, running, stopped, failed and finished. The directory of a run says whether it
is finished. Its path is relative to the directory of the sweep, so that both can be moved together.
In schema 1 it is relative to the working directory of the command. Up to schema 2, statuses are in
`sweep.json`.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from rlformers.config import ExperimentConfig
from rlformers.config.compose import from_dict, to_dict
from rlformers.errors import UserError
from rlformers.experiment.checkpoints.kept_rows import finished
from rlformers.experiment.checkpoints.resume import computation
from rlformers.experiment.run_files.file_lock import lock
from rlformers.experiment.run_files.run_dir import finite, is_new, write_json
from rlformers.experiment.training.failed_seeds import failed_note

SCHEMA = 3
HOME = Path("runs") / "multirun"  # for sweeps without a `run_dir`


class Job(NamedTuple):
    """One run of a sweep."""

    name: str  # its own values: "core=s5 seed=1"
    config: ExperimentConfig  # with the directory of the run


class Result(NamedTuple):
    """The result of a run."""

    name: str
    run_dir: Path
    status: str  # as in the record of the sweep
    summary: dict[str, Any] | None  # if the run is finished, also if some of its seeds failed
    error: str | None  # if the run failed


class Outcome(NamedTuple):
    """The results of a sweep."""

    directory: Path
    results: list[Result]


class Sweep:
    """The record of a sweep in its directory. Any number of processes may read and write it."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.stop_file = directory / ".stop"

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The runs with their current statuses, and their directories as paths from here."""
        record = self._read()
        runs = [{"status": "waiting", "error": None} | run for run in record["runs"]]
        for line in self._changes():
            if line["run"] == len(runs):
                runs.append({})
            runs[line["run"]] |= {key: value for key, value in line.items() if key != "run"}
        if record["schema"] == 1:
            return runs
        # Not resolved: a relative path is shown as relative.
        return [run | {"run_dir": os.path.normpath(self.directory / run["run_dir"])} for run in runs]

    @property
    def group(self) -> str:
        """The W&B group of all its runs."""
        return self._read()["group"]

    @property
    def command(self) -> list[str]:
        """The words of the command that started it."""
        return self._read()["command"]

    def set(self, number: int, status: str, error: str | None = None) -> None:
        """Write down the status of a run."""
        with self._writing() as file:
            file.write(json.dumps({"run": number, "status": status, "error": error}) + "\n")

    def add(self, name: str, config: ExperimentConfig) -> tuple[int, Job]:
        """The number and job of a run: an existing one that computes the same, or a new one in the sweep's folder."""
        wanted = same(config)
        with self._writing() as file:
            runs = self.runs
            for number, run in enumerate(runs):
                if _computes(run) == wanted:
                    return number, Job(run["name"], _in(config, Path(run["run_dir"])))
            job = Job(name, _in(config, self.directory / str(len(runs))))
            entry = {"name": name, "run_dir": str(len(runs)), "status": "waiting", "error": None}
            file.write(json.dumps({"run": len(runs)} | entry | {"config": finite(to_dict(job.config))}) + "\n")
        return len(runs), job

    def match(self, jobs: Sequence[Job]) -> list[Job] | None:
        """These jobs in the order and with the directories of the record; None if they are not its runs.

        Keys that do not change the computation (`resume.computation`) may differ.
        """
        runs = self.runs
        if len(runs) != len(jobs):
            return None
        left: dict[str, list[Job]] = {}
        for job in jobs:
            left.setdefault(same(job.config), []).append(job)
        matched = []
        for run in runs:
            found = left.get(_computes(run) or "")
            if not found:
                return None
            job = found.pop(0)
            matched.append(job._replace(config=_in(job.config, Path(run["run_dir"]))))
        return matched

    def _read(self) -> dict[str, Any]:
        path = self.directory / "sweep.json"
        try:
            record = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise UserError(f"{path}: no record of a sweep ({error})") from error
        if not isinstance(record, dict) or record.get("schema") not in range(1, SCHEMA + 1):
            raise UserError(f"{path}: no record of a sweep that this version reads (schema 1 to {SCHEMA})")
        return record

    def _changes(self) -> Iterator[dict[str, Any]]:
        try:
            text = (self.directory / "statuses.jsonl").read_text()
        except FileNotFoundError:
            return
        for line in text.splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # a crash or a full disk cut the line
                yield json.loads(line)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[TextIO]:
        """The end of `statuses.jsonl`, for one process at a time."""
        with (self.directory / "statuses.jsonl").open("a+") as file:
            lock(file, wait=True)
            file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
            if file.read(1) not in ("", "\n"):
                file.write("\n")
            yield file


def same(config: ExperimentConfig) -> str:
    """What a run computes, as a text that is equal for equal computations."""
    return json.dumps(computation(config), sort_keys=True, default=repr)


def _computes(run: dict[str, Any]) -> str | None:
    try:
        return same(from_dict(run["config"]))
    except ValueError:  # from a version with other keys
        return None


def find(jobs: Sequence[Job], base: Path | None) -> tuple[Sweep, list[Job]] | None:
    """The newest sweep of these jobs, or the one in `base`, with the jobs as `Sweep.match` gives them.

    Raises:
        UserError: `base` contains something else.
    """
    if base is not None:
        if not base.exists() or is_new(base):
            return None
        if not (base / "sweep.json").exists():
            raise UserError(
                f"run_dir: {base} exists and is not a sweep; nothing is ever overwritten; give another run_dir="
            )
        if matched := Sweep(base).match(jobs):
            return Sweep(base), matched
        names = [run["name"] for run in Sweep(base).runs]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise UserError(f"run_dir: {base} is another sweep ({shown}); give its values, or another run_dir=")
    for path in sorted(HOME.glob("*/sweep.json"), reverse=True):
        with contextlib.suppress(ValueError):  # a sweep whose record cannot be read cannot continue
            if matched := Sweep(path.parent).match(jobs):
                return Sweep(path.parent), matched
    return None


def create(jobs: Sequence[Job], base: Path | None, command: Sequence[str]) -> tuple[Sweep, list[Job]]:
    """Make the directory of a new sweep and write its record; return it with the jobs in their directories.

    Raises:
        UserError: The directory cannot be made.
    """
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    directory, number = base or HOME / stamp, 1
    while True:
        try:
            directory.mkdir(parents=True, exist_ok=base is not None)
            break
        except FileExistsError:
            number += 1
            directory = HOME / f"{stamp}-{number}"
        except OSError as error:
            raise UserError(f"run_dir: cannot write {directory}: {error.strerror}") from error
    if base is not None:
        places = [base / str(i) for i in range(len(jobs))]
    else:
        homes = [Path("runs") / job.config.env / job.config.core.name for job in jobs]
        places = [home / f"{directory.name}.{i}" for i, home in enumerate(homes)]
    jobs = [job._replace(config=_in(job.config, place)) for job, place in zip(jobs, places, strict=True)]
    runs = [
        {"name": job.name, "run_dir": os.path.relpath(place, directory), "config": to_dict(job.config)}
        for job, place in zip(jobs, places, strict=True)
    ]
    record = {"schema": SCHEMA, "group": f"sweep {directory.name}", "command": list(command), "runs": runs}
    write_json(directory / "sweep.json", record, indent=1)
    return Sweep(directory), jobs


def results(sweep: Sweep, jobs: Sequence[Job] | None = None) -> list[Result]:
    """The results so far of the given jobs; default: of all runs in the record."""
    found = []
    if jobs is None:
        jobs = [Job(run["name"], _in(from_dict(run["config"]), Path(run["run_dir"]))) for run in sweep.runs]
    for job, entry in zip(jobs, sweep.runs, strict=True):
        summary = summary_of(job)
        status, error = ("finished", None) if summary else (entry["status"], entry["error"])
        if summary and summary.get("failed"):  # some seeds failed; the others are trained to the end
            status, error = "failed", failed_note(summary["failed"])
        found.append(Result(job.name, Path(entry["run_dir"]), status, summary, error))
    return found


def summary_of(job: Job) -> dict[str, Any] | None:
    """The summary of a run; None if it is not finished."""
    return finished(Path(str(job.config.run_dir)), job.config)


def _in(config: ExperimentConfig, run_dir: Path) -> ExperimentConfig:
    return replace(config, run_dir=str(run_dir))
