"""What run directories, and the records of sweeps, say: configuration, returns while training, and the summary."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlformers.config import ExperimentConfig
from rlformers.config.compose import flatten, to_dict
from rlformers.errors import UserError
from rlformers.experiment.checkpoints.resume import changes
from rlformers.experiment.checkpoints.store import newest_meta
from rlformers.experiment.reports.config_reader import ConfigReader
from rlformers.experiment.run_files.file_lock import is_locked
from rlformers.experiment.run_files.summary import goal_of, read_summary
from rlformers.experiment.sweeps.record import Sweep
from rlformers.experiment.tracking import Row, read_rows
from rlformers.experiment.training.failed_seeds import failed_note


class Run(NamedTuple):
    """What a run directory says."""

    path: Path
    config: dict[str, Any]  # flat: {"ppo.lr": 1e-3, ...}
    curves: dict[int, np.ndarray]  # of each seed: rows (step, mean return of the episodes since the row before)
    evaluated: dict[int, np.ndarray]  # of each seed: rows (step, mean return of the episodes of an evaluation)
    summary: dict[str, Any] | None  # None: it was killed, or still runs
    running: bool  # a process trains there: it has the lock of `run_dir.locked`
    goal: int  # environment steps of each seed at its end
    problems: tuple[str, ...] = ()  # what of it cannot be read or believed, and what the record of its sweep says

    @property
    def finished(self) -> bool:
        """It reached its last step: not that of an earlier, shorter configuration."""
        done = self.summary is not None and self.summary["completed"] and self.summary["total_steps"] == self.goal
        return done and not self.running

    @property
    def steps(self) -> int:
        """Environment steps of each seed so far."""
        return int(max((curve[-1, 0] for curve in self.curves.values() if len(curve)), default=0))

    @property
    def progress(self) -> float:
        """Share of its steps that it has made."""
        return 1.0 if self.finished else self.steps / max(self.goal, 1)

    @property
    def status(self) -> str:
        """In words."""
        return "; ".join([self._state, *self.problems])

    @property
    def _state(self) -> str:
        if self.finished:
            early = (self.summary or {}).get("stopped_early")
            return f"finished early, after {early['step']:,} steps" if early else "finished"
        failure = (self.summary or {}).get("failure")
        if self.running:
            how = "training now"
        elif failure:
            how = f"failed: {failure['what']}"
        elif not self.curves:
            how = "ended before its first log point"
        else:
            how = "killed" if self.summary is None else "stopped or failed"
        return f"unfinished at {self.progress:.0%}, {how}"


class Found(NamedTuple):
    """A place where a run is, or would be."""

    path: Path
    record: dict[str, Any] | None = None  # of it in its sweep


def find(run_dirs: Sequence[Path | str], configs: ConfigReader | None = None) -> list[Found]:
    """The runs among and below some directories, and of the sweeps there, each once, oldest first.

    A run that ended before it logged anything has a configuration only, and is found too; one of a
    sweep that never started is nothing but a record.

    Raises:
        UserError: None given, or one that has none; a record that cannot be read.
    """
    if not run_dirs:
        raise UserError("report: need at least one run directory")
    configs = configs or ConfigReader()
    found: dict[Path, Found] = {}
    for given in map(Path, run_dirs):
        inside = [path for path in _outermost(given) if (path / "metrics.jsonl").exists() or _is_config(path, configs)]
        records = [run for path in sorted(given.rglob("sweep.json")) for run in Sweep(path.parent).runs]
        if not inside and not records:
            raise UserError(f"report: {given} contains no run (a directory with config.yaml and metrics.jsonl)")
        found |= {path.resolve(): Found(path.resolve()) for path in inside if path.resolve() not in found}
        found |= {path: Found(path, run) for run in records for path in [Path(run["run_dir"]).resolve()]}
    return sorted(found.values(), key=_begun)


def _begun(found: Found) -> float:
    try:
        return (found.path / "config.yaml").stat().st_mtime
    except OSError:
        return float("inf")


def _outermost(top: Path) -> list[Path]:
    """Directories with a `config.yaml` that are in no other such directory: W&B keeps some in its own."""
    found: list[Path] = []
    for path in sorted(path.parent for path in top.rglob("config.yaml")):
        if not (found and path.is_relative_to(found[-1])):  # sorted, what is in a directory follows it
            found.append(path)
    return found


def _is_config(path: Path, configs: ConfigReader) -> bool:
    try:
        configs.load(path / "config.yaml")
    except ValueError:
        return False
    return True


def read(found: Found, configs: ConfigReader | None = None) -> Run:
    """Read a run. What of it is damaged stands in its `problems`.

    Many runs are read faster with one `configs` for all of them.

    Raises:
        UserError: Its configuration cannot be read.
    """
    configs = configs or ConfigReader()
    path, record = found
    problems: list[str] = []
    if record is not None and not (path / "config.yaml").exists():
        config = configs.from_dict(record["config"])
        problems += [f"{record['status']} in its sweep" + (f": {record['error']}" if record["error"] else "")]
    else:
        config, edited = _config(path, configs)
        problems += [edited] if edited else []
        problems += [record["error"]] if record and record["status"] == "failed" else []
    try:
        rows = read_rows(path / "metrics.jsonl")
    except ValueError as error:
        rows = []
        problems.append(f"unreadable: {error}")
    summary = read_summary(path)
    if summary is None and (path / "summary.json").exists():
        problems.append("unreadable: summary.json is no summary of a run")
    failed = (summary or {}).get("failed") or []
    if failed and not (summary or {}).get("failure"):
        problems.append(failed_note(failed))
    rows = [row for row in rows if row["seed"] not in {one["seed"] for one in failed}]
    curves, evaluated = (_curves(rows, f"{name}/return") for name in ("episode", "eval"))
    goal = goal_of(summary, config)
    return Run(
        path,
        flatten(to_dict(config)),
        curves,
        evaluated,
        summary,
        is_locked(path / ".lock"),
        goal,
        tuple(dict.fromkeys(problems)),
    )


def _config(path: Path, configs: ConfigReader) -> tuple[ExperimentConfig, str | None]:
    """What was trained: as its checkpoints say, should `config.yaml` say something else."""
    config = configs.load(path / "config.yaml")
    meta = newest_meta(path / "checkpoints")
    begun = configs.from_dict(meta["config"]) if meta and "config" in meta else config
    differing = changes(begun, config)
    if not differing:
        return config, None
    return begun, f"config.yaml was edited ({', '.join(differing[:3])}): this is what its checkpoints say"


def _curves(rows: Sequence[Row], key: str) -> dict[int, np.ndarray]:
    curves: dict[int, list[tuple[float, float]]] = {}
    for row in rows:
        if key in row:
            step, value = (np.nan if number is None else number for number in (row["step"], row[key]))
            curves.setdefault(int(row["seed"] or 0), []).append((step, value))
    return {seed: np.array(curve, float) for seed, curve in curves.items()}
