"""Uploads existing runs to Weights & Biases: everything that it does not have yet."""

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
    """The result for a run directory."""

    mode: str  # online or offline
    rows: int  # in metrics.jsonl
    added: int  # to the W&B runs


def track(run_dir: Path, words: list[str]) -> Tracked:
    """Send W&B the rows of a run that it lacks, with configuration, summary, evaluations and pictures.

    The run may be finished, interrupted, or never have been logged. Its W&B runs keep their ids: a
    second call adds nothing, and a resumed training continues them.

    Args:
        run_dir: The directory of the run.
        words: `wandb.*=...`, in place of the values in the run's configuration. The default mode is
            auto.

    Raises:
        UserError: There is no such run, a process trains there, or a word is wrong; one line.
        FileError: W&B failed.
    """
    for word in words:
        if not word.startswith("wandb."):
            raise UserError(f"track: need wandb.KEY=VALUE, got {word!r}")
    config = change(load(run_dir / "config.yaml"), ["wandb.mode=auto", *words])
    if config.wandb.mode == "disabled":
        raise UserError("wandb.mode: need one of auto, online, offline to track a run, got 'disabled'")
    with locked(run_dir):
        rows = read_rows(run_dir / "metrics.jsonl")
        sink = WandbSink(config, run_dir, None, rows)
        if sink.mode == "disabled":
            raise UserError("track: WANDB_MODE=disabled turns W&B off; give wandb.mode=online or wandb.mode=offline")
        series = sink.series
        sink.finish(_summary(run_dir, config))
    if sink.failure:
        raise FileError(f"track: {run_dir}: {sink.failure}")
    return Tracked(sink.mode, len(rows), sum(one.added for one in series))


def _summary(run_dir: Path, config: ExperimentConfig) -> dict[str, Any]:
    """The summary of the run, or one of an unfinished run if it was killed before it wrote one or was extended."""
    summary = read_summary(run_dir)
    if summary is None:
        numbers = list(range(config.seed, config.seed + config.seeds))
        return {"completed": False, "seeds": numbers, "final_return": {"per_seed": [None] * config.seeds}}
    goal = goal_of(summary, config)
    return summary | {"completed": summary["completed"] and summary["total_steps"] == goal}
