"""Where the rows of a run go: `metrics.jsonl`, the source of truth, and views of it."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from rlformers.config import ExperimentConfig
from rlformers.experiment.tracking.jsonl import JsonlSink, Row, read_rows

__all__ = ["JsonlSink", "Row", "Sink", "open_views", "read_rows"]


@runtime_checkable
class Sink(Protocol):
    """Takes the rows of one run. It belongs to a run directory and shares nothing with other sinks of the process."""

    def log(self, row: Row) -> None:
        """Take a row: `seed`, `step` (environment steps of that seed) and metrics."""

    def commit(self, step: int) -> None:
        """Learn that a checkpoint after `step` environment steps is on disk: rows up to there are final."""

    def renew(self, seed: int) -> None:
        """Bring what it shows of a seed up to date with the rows that it was opened with."""

    def finish(self, summary: dict) -> None:
        """Take the run's summary and close. A view never raises, here or above: it must not stop a training."""


def open_views(config: ExperimentConfig, run_dir: Path, group: str | None, step: int) -> list[Sink]:
    """The views that a configuration asks for, brought up to date with `metrics.jsonl`.

    Args:
        config: Of the run.
        run_dir: Its directory; `metrics.jsonl` ends with the rows of `step`.
        group: Group of the W&B runs, unless the configuration names one.
        step: Environment steps after which the run goes on; 0 at its start.
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
