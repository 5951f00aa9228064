"""What run directories say: configuration, returns while training, and the summary."""

import fcntl
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlformers.compose import flatten, load, to_dict
from rlformers.experiment.sinks import Row, read_rows


class Run(NamedTuple):
    """What a run directory says."""

    path: Path
    config: dict[str, Any]  # flat: {"ppo.lr": 1e-3, ...}
    curves: dict[int, np.ndarray]  # of each seed: rows (step, mean return of the episodes since the row before)
    evaluated: dict[int, np.ndarray]  # of each seed: rows (step, mean return of the episodes of an evaluation)
    summary: dict[str, Any] | None  # None: it was killed, or still runs
    running: bool = False  # a process trains there

    @property
    def finished(self) -> bool:
        """It reached its last step."""
        return self.summary is not None and self.summary.get("completed", True) and not self.running

    @property
    def steps(self) -> int:
        """Environment steps of each seed so far."""
        return int(max((curve[-1, 0] for curve in self.curves.values() if len(curve)), default=0))

    @property
    def progress(self) -> float:
        """Share of its steps that it has made."""
        return 1.0 if self.finished else self.steps / max(self.config["total_steps"], 1)

    @property
    def status(self) -> str:
        """In words."""
        if self.finished:
            return "finished"
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


def find(run_dirs: Sequence[Path | str]) -> list[Path]:
    """The run directories among and below some directories, each once, oldest first.

    A run that ended before it logged anything has a configuration only, and is found too.

    Raises:
        ValueError: None given, or one that has none.
    """
    if not run_dirs:
        raise ValueError("report: need at least one run directory")
    found: dict[Path, None] = {}
    for given in map(Path, run_dirs):
        inside = [path for path in _outermost(given) if (path / "metrics.jsonl").exists() or _is_config(path)]
        if not inside:
            raise ValueError(f"report: {given} contains no run (a directory with config.yaml and metrics.jsonl)")
        found |= dict.fromkeys(path.resolve() for path in inside)
    return sorted(found, key=lambda path: (path / "config.yaml").stat().st_mtime)


def _outermost(top: Path) -> list[Path]:
    """Directories with a `config.yaml` that are in no other such directory: W&B keeps some in its own."""
    found: list[Path] = []
    for path in sorted(path.parent for path in top.rglob("config.yaml")):
        if not any(path.is_relative_to(outer) for outer in found):
            found.append(path)
    return found


def _is_config(path: Path) -> bool:
    try:
        load(path / "config.yaml")
    except ValueError:
        return False
    return True


def read(path: Path) -> Run:
    """Read a run directory.

    Raises:
        ValueError: A file of it does not hold what it should.
    """
    config = load(path / "config.yaml")
    try:
        summary = json.loads((path / "summary.json").read_text())
    except FileNotFoundError:
        summary = None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path / 'summary.json'}: no JSON ({error})") from error
    rows = read_rows(path / "metrics.jsonl")
    curves, evaluated = (_curves(rows, f"{name}/return") for name in ("episode", "eval"))
    return Run(path, flatten(to_dict(config)), curves, evaluated, summary, _in_use(path))


def _curves(rows: Sequence[Row], key: str) -> dict[int, np.ndarray]:
    curves: dict[int, list[tuple[float, float]]] = {}
    for row in rows:
        if key in row:
            value = row[key]
            curves.setdefault(int(row["seed"]), []).append((row["step"], np.nan if value is None else value))
    return {seed: np.array(curve, float) for seed, curve in curves.items()}


def _in_use(path: Path) -> bool:
    """Whether a process holds the lock of `run_dir.locked`."""
    try:
        with (path / ".lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # none, or on a file system without locks
        return False
    return False
