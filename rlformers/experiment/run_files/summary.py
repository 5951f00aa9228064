"""Reads `summary.json`."""

import json
from pathlib import Path
from typing import Any

from rlformers.config import ExperimentConfig


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """The summary of a run; None if there is none, or if no run can have written it."""
    try:
        summary = json.loads((run_dir / "summary.json").read_text())
        whole = isinstance(summary["completed"], bool) and isinstance(summary["total_steps"], int)
        per_seed = summary["final_return"]["per_seed"]
        return summary if whole and len(per_seed) == len(summary["seeds"]) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def still_reached(found: dict[str, Any] | None, goal: float | None) -> dict[str, Any] | None:
    """What a run ended early with, `{"step", "return"}`, if its goal, `stop.return`, is no higher; else None."""
    return found if found and goal is not None and found["return"] >= goal else None


def goal_of(summary: dict[str, Any] | None, config: ExperimentConfig) -> int:
    """Environment steps of each seed at the end of a run: where it has ended early, if it has, or else all of them."""
    reached = still_reached((summary or {}).get("stopped_early"), config.stop_return)
    return reached["step"] if reached else config.num_updates * config.batch_size
