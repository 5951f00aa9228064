"""Summarises the learner's metrics over the updates between two log points."""

from typing import Any

import numpy as np

# For these the largest value counts: they warn of events in single updates.
LARGEST = ("ppo/first_ratio_error", "ppo/grad_norm")


class LogSums:
    """Means of `ppo/*` over the updates since the last log point, maxima of `LARGEST`, and last values of all else.

    Sums are in float64 and in the order of updates, and checkpoints hold them: a resumed run logs
    the same digits.

    Args:
        saved: The result of `to_json` in an earlier process.
    """

    def __init__(self, saved: dict[str, Any] | None = None):
        self._count: int = saved["count"] if saved else 0
        self._sums = {name: np.array(values, float) for name, values in (saved["sums"] if saved else {}).items()}
        self._last: dict[str, np.ndarray] = {}

    def add(self, metrics: dict[str, np.ndarray]) -> None:
        """Count the metrics of an update, leaves [S], except those of episodes."""
        self._count += 1
        for name, values in metrics.items():
            if name.startswith("ppo/"):
                values = values.astype(float)
                if name in self._sums:
                    add = np.maximum if name in LARGEST else np.add
                    values = add(self._sums[name], values)
                self._sums[name] = values
            elif not name.startswith("episode/"):
                self._last[name] = values

    def pop(self) -> list[dict[str, float]]:
        """The columns of a row per seed about the updates since the last call."""
        means = {name: values if name in LARGEST else values / self._count for name, values in self._sums.items()}
        columns = means | self._last
        self._count, self._sums, self._last = 0, {}, {}
        num_seeds = len(next(iter(columns.values())))
        return [{name: float(values[i]) for name, values in columns.items()} for i in range(num_seeds)]

    def to_json(self) -> dict[str, Any]:
        """The state that a resumed run needs."""
        return {"count": self._count, "sums": {name: values.tolist() for name, values in self._sums.items()}}
