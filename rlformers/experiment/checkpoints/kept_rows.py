"""No row of `metrics.jsonl` is ever lost.

When training starts from a checkpoint, it cuts off the rows after it, but only if it will write
exactly these rows again. Rows that may come out differently, or that no checkpoint covers, are
first set aside as `metrics.jsonl.<n>.old`. If a run has lost its checkpoints, training refuses to
start: it would compute everything anew.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlformers.config import ExperimentConfig
from rlformers.config.compose import from_dict
from rlformers.errors import UserError
from rlformers.experiment.checkpoints.store import Checkpoint
from rlformers.experiment.run_files.provenance import versions
from rlformers.experiment.run_files.summary import goal_of, read_summary

_BLOCK = 1 << 16  # bytes


def finished(run_dir: Path, config: ExperimentConfig) -> dict[str, Any] | None:
    """The summary of a finished run, with or without checkpoints; None if there is something left to do.

    A run is finished if its summary says so and fits the configuration, and if `metrics.jsonl` has
    the last row of every seed that did not fail. With `retry=failed`, failed seeds are left to do.
    """
    summary = read_summary(run_dir)
    steps = goal_of(summary, config)
    if summary is None or not summary["completed"] or summary["total_steps"] != steps:
        return None
    seeds = list(range(config.seed, config.seed + config.seeds))
    if summary["seeds"] != seeds:
        return None
    failed = failed_seeds(summary)
    if failed and config.retry:
        return None
    wanted = set(seeds) - failed
    ended = {row.get("seed") for row in last_rows(run_dir / "metrics.jsonl", len(seeds)) if row.get("step") == steps}
    return summary if wanted <= ended else None


def failed_seeds(summary: dict[str, Any]) -> set[int]:
    """The failed seeds in a summary."""
    return {failed["seed"] for failed in summary.get("failed") or []}


def last_rows(path: Path, count: int) -> list[dict[str, Any]]:
    """The JSON objects in the last `count` whole lines of a file; none if the file is missing."""
    try:
        with path.open("rb") as file:
            at, data = file.seek(0, 2), b""
            while at and data.count(b"\n") <= count:
                at -= (size := min(_BLOCK, at))
                file.seek(at)
                data = file.read(size) + data
    except OSError:
        return []
    rows = []
    for line in data.split(b"\n")[:-1][-count:]:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows += [row] if isinstance(row, dict) else []
    return rows


def refuse_lost_checkpoints(run_dir: Path) -> None:
    """Check that a run with rows but without checkpoints never had a checkpoint.

    Raises:
        UserError: It had one; one line that says what to do.
    """
    summary, metrics = read_summary(run_dir), run_dir / "metrics.jsonl"
    if summary is None or not _size(metrics):
        return
    if summary["completed"] or summary.get("last_checkpoint"):
        step = max((row["step"] for row in last_rows(metrics, 1) if "step" in row), default=summary["total_steps"])
        raise UserError(
            f"run_dir: {run_dir} has rows up to step {step:,}, but its checkpoints are gone, so it cannot continue "
            "from there; move the directory away, or give another run_dir="
        )


def set_rows_aside(
    run_dir: Path,
    config: ExperimentConfig,
    checkpoint: Checkpoint | None,
    num_devices: int,
    anew: bool,
    report: Callable[[str], None] = print,
) -> None:
    """Keep a copy of `metrics.jsonl` if training will cut off rows that may come out differently.

    Args:
        run_dir: The directory of the run.
        config: The experiment.
        checkpoint: The checkpoint that the run continues from; None: it starts.
        num_devices: Number of devices that compute it.
        anew: The rows may differ: its environment is on the host and starts new episodes, the
            groups of seeds have another size, or the code that made the run fail has been mended.
        report: Gets a line that says so.
    """
    metrics = run_dir / "metrics.jsonl"
    meta = checkpoint.meta if checkpoint else {}
    if _size(metrics) <= meta.get("metrics_bytes", 0):
        return
    if checkpoint is not None:
        same = (
            meta.get("versions", {}) == versions()
            and meta.get("num_devices", 1) == num_devices
            and from_dict(meta["config"]).num_updates == config.num_updates
            and not anew
        )
        if same:
            return
    aside = free_name(metrics)
    if checkpoint is None:
        metrics.rename(aside)
        report(f"no checkpoint covers the rows in {metrics}; they are now in {aside.name}, and the run starts anew")
    else:
        shutil.copy2(metrics, aside)
        report(f"the rows after update {checkpoint.update:,} may come out differently now; {aside} keeps the old ones")


def free_name(path: Path) -> Path:
    """A free name to set a file aside: `NAME.<n>.old` with the first number that is free."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{number}.old")).exists():
        number += 1
    return aside


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
