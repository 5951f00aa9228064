"""`rlformers list runs`: the runs and their progress. Reads a few lines of each run, and imports no jax."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rlformers.errors import UserError
from rlformers.experiment.run_files.error_file import NAME as ERRORS
from rlformers.experiment.run_files.file_lock import is_locked
from rlformers.experiment.run_files.summary import read_summary, still_reached

HEADER = ("begun", "directory", "env", "core", "seeds", "steps", "of", "status", "return")
# The lines of config.yaml to read: keys of the first level, and four of the second.
KEYS = re.compile(r"\w+:|  (?:name|num_envs|num_steps|return): ")
RUN_FILES = ("metrics.jsonl", "checkpoints", "summary.json", ".lock", ERRORS)


class RunLine(NamedTuple):
    """The cells of one run."""

    begun: float  # seconds since 1970
    directory: Path
    env: str
    core: str
    seeds: str
    steps: int  # per seed, according to its summary or its newest checkpoint
    goal: int
    status: str  # finished, running, stopped, failed or unreadable
    final_return: float | None  # of a finished run: IQM over seeds, in the last tenth of its steps


def run_table(directory: str = "runs") -> list[str]:
    """A line for every run in and below a directory, the newest last.

    Raises:
        UserError: There is no such directory, or it contains no run.
    """
    top = Path(directory).expanduser()
    if not top.is_dir():
        raise UserError(f"list runs: no directory {directory}; usage: rlformers list runs [DIR]")
    lines = sorted(map(look_at, find_runs(top)))
    if not lines:
        raise UserError(f"list runs: {directory} contains no run (a directory with config.yaml)")
    cells = [HEADER, *map(_cells, lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = ("steps", "of", "return")
    return [
        "  ".join(
            f"{cell:>{width}}" if title in right else f"{cell:{width}}"
            for cell, width, title in zip(row, widths, HEADER, strict=True)
        ).rstrip()
        for row in cells
    ]


def find_runs(top: Path) -> Iterator[Path]:
    """The directories of runs. Nothing inside a run, such as the files of W&B, counts as another run."""
    with os.scandir(top) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    names = {entry.name for entry in inside}
    if "config.yaml" in names and not names.isdisjoint(RUN_FILES):
        yield top
        return
    for entry in inside:
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from find_runs(top / entry.name)


def look_at(run_dir: Path) -> RunLine:
    """Read the line of a run from its files."""
    begun = (run_dir / "config.yaml").stat().st_mtime
    try:
        config = few_keys((run_dir / "config.yaml").read_text())
        seed, seeds = config["seed"], config["seeds"]
        batch = config["ppo"]["num_envs"] * config["ppo"]["num_steps"]
        goal = int(float(config["total_steps"])) // batch * batch
        env, core = str(config["env"]), str(config["core"]["name"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return RunLine(begun, run_dir, "?", "?", "?", 0, 0, "unreadable", None)
    summary = read_summary(run_dir) or {}
    steps = max(int(summary.get("total_steps") or 0), newest_update(run_dir) * batch)
    if early := still_reached(summary.get("stopped_early"), (config.get("stop") or {}).get("return")):
        goal = early["step"]
    finished = bool(summary.get("completed")) and summary["total_steps"] == goal
    final = summary.get("final_return") or {}
    return RunLine(
        begun,
        run_dir,
        env,
        core,
        str(seed) if seeds == 1 else f"{seed}..{seed + seeds - 1}",
        steps,
        goal,
        status(run_dir, summary, finished),
        final.get("iqm", final.get("mean")) if finished else None,
    )


def few_keys(text: str) -> dict[str, Any]:
    """The keys of a `config.yaml` that the table needs; all keys if the file has not the library's layout.

    Raises:
        ValueError: It is not YAML.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    wanted = "\n".join(line for line in text.splitlines() if KEYS.match(line))
    try:
        config = yaml.load(wanted, loader)
        if not isinstance(config, dict) or not all(isinstance(config.get(key), dict) for key in ("core", "ppo")):
            config = yaml.load(text, loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return config


def newest_update(run_dir: Path) -> int:
    """The update of the newest checkpoint; 0 if there is none."""
    try:
        return max((int(name) for name in os.listdir(run_dir / "checkpoints") if name.isdecimal()), default=0)
    except OSError:
        return 0


def status(run_dir: Path, summary: dict[str, Any], finished: bool) -> str:
    """The status in one word."""
    if finished:
        return "failed" if summary.get("failure") else "finished"
    if is_locked(run_dir / ".lock"):
        return "running"
    return "failed" if summary.get("failure") or _ended_by_error(run_dir) else "stopped"


def _ended_by_error(run_dir: Path) -> bool:
    """Whether the last training ended with an error: its traceback is newer than its summary."""
    try:
        headings = re.findall(r"^== .*, (\w+), process", (run_dir / ERRORS).read_text(), re.M)
        last = (run_dir / ERRORS).stat().st_mtime
        summary = run_dir / "summary.json"
        return headings[-1:] == ["train"] and (not summary.exists() or last >= summary.stat().st_mtime)
    except OSError:
        return False


def _cells(line: RunLine) -> tuple[str, ...]:
    return (
        time.strftime("%Y-%m-%d %H:%M", time.localtime(line.begun)),
        str(line.directory),
        line.env,
        line.core,
        line.seeds,
        f"{line.steps:,}",
        f"{line.goal:,}",
        line.status,
        "-" if line.final_return is None else f"{line.final_return:.3f}",
    )
