"""Reads `summary.json`."""

import json
from pathlib import Path
from typing import Any


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """The summary of a run; None if there is none, or if no run can have written it."""
    try:
        summary = json.loads((run_dir / "summary.json").read_text())
        whole = isinstance(summary["completed"], bool) and isinstance(summary["total_steps"], int)
        per_seed = summary["final_return"]["per_seed"]
        return summary if whole and len(per_seed) == len(summary["seeds"]) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
