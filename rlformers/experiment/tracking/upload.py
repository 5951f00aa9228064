"""Uploading runs that exist to Weights & Biases: what of them it does not have."""

from pathlib import Path
from typing import Any, NamedTuple

from rlformers.config import ExperimentConfig
from rlformers.config.compose import change, load
from rlformers.errors import FileError, UserError
from rlformers.experiment.run_files.run_dir import locked
from rlformers.experiment.run_files.summary import goal_of, read_summary
from rlformers.experiment.tracking.jsonl import read_rows
from rlformers.experiment.tracking.wandb import WandbSink


class Tracked(NamedTuple):
    """What came of a run directory."""

    mode: str  # online or offline
    rows: int  # in metrics.jsonl
    added: int  # to the W&B runs


def track(run_dir: Path, words: list[str]) -> Tracked:
    """Hand the rows of a run that W&B does not have over to it, with configuration, summary, evaluations and pictures.

    It may be finished, interrupted, or never have been logged. Its W&B runs keep their ids, so that a second call adds
    nothing, and a training that is resumed goes on with them.

    Args:
        run_dir: The run's directory.
        words: `wandb.*=...`, instead of what the run's configuration says; the mode is auto unless one stands here.

    Raises:
        UserError: No such run, or a process trains there, or a word is wrong; one line.
        FileError: W&B failed.
    """
    for word in words:
        if not word.startswith("wandb."):
            raise UserError(f"track: {word!r} is no wandb.KEY=VALUE")
    config = change(load(run_dir / "config.yaml"), ["wandb.mode=auto", *words])
    if config.wandb.mode == "disabled":
        raise UserError("wandb.mode: need one of auto, online, offline to track a run, got 'disabled'")
    with locked(run_dir):
        rows = read_rows(run_dir / "metrics.jsonl")
        sink = WandbSink(config, run_dir, None, rows)
        if sink.mode == "disabled":
            raise UserError("track: WANDB_MODE=disabled; give wandb.mode=online or wandb.mode=offline")
        series = sink.series
        sink.finish(_summary(run_dir, config))
    if sink.failure:
        raise FileError(f"track: {run_dir}: {sink.failure}")
    return Tracked(sink.mode, len(rows), sum(one.added for one in series))


def _summary(run_dir: Path, config: ExperimentConfig) -> dict[str, Any]:
    """The run's own, or that of a run which was killed before it could write one, or has been made longer since."""
    summary = read_summary(run_dir)
    if summary is None:
        numbers = list(range(config.seed, config.seed + config.seeds))
        return {"completed": False, "seeds": numbers, "final_return": {"per_seed": [None] * config.seeds}}
    goal = goal_of(summary, config)
    return summary | {"completed": summary["completed"] and summary["total_steps"] == goal}
