"""Writes the rows of a run to `metrics.jsonl`, the source of truth, and to views of it."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from rlformers.config import ExperimentConfig
from rlformers.experiment.tracking.jsonl import JsonlSink, Row, read_rows

__all__ = ["JsonlSink", "Row", "Sink", "open_views", "read_rows"]


@runtime_checkable
class Sink(Protocol):
    """Takes the rows of one run. It belongs to one run directory and shares nothing with other sinks."""

    def log(self, row: Row) -> None:
        """Take a row: `seed`, `step` (environment steps of that seed) and metrics."""

    def commit(self, step: int) -> None:
        """Learn that a checkpoint at `step` environment steps is on disk: the rows up to this step are final."""

    def renew(self, seed: int) -> None:
        """Update what the sink shows of a seed to the rows that it was opened with."""

    def finish(self, summary: dict) -> None:
        """Take the summary of the run and close. No method of a view ever raises: a view must not stop a training."""


def open_views(config: ExperimentConfig, run_dir: Path, group: str | None, step: int) -> list[Sink]:
    """Open the views that a configuration asks for and bring them up to date with `metrics.jsonl`.

    Args:
        config: The configuration of the run.
        run_dir: Its directory; `metrics.jsonl` ends with the rows of `step`.
        group: Group of the W&B runs, unless the configuration names one.
        step: Environment steps after which the run continues; 0 at its start.
    """
    rows = read_rows(run_dir / "metrics.jsonl")
    views: list[Sink] = []
    if config.tensorboard:
        from rlformers.experiment.tracking.tensorboard import TensorboardSink

        views.append(TensorboardSink(run_dir, rows, step))
    if config.wandb.mode != "disabled":
        from rlformers.experiment.tracking.wandb import WandbSink

        views.append(WandbSink(config, run_dir, group, rows))
    return views
