"""What the learner's metrics are over the updates between two log points."""

from typing import Any

import numpy as np

# Of these the largest counts: what they warn of happens in single updates.
LARGEST = ("ppo/first_ratio_error", "ppo/grad_norm")


class LogSums:
    """Means of `ppo/*` over the updates since the last log point, of `LARGEST` the maximum; of all else the last value.

    Sums are in float64 and in the order of updates, and a checkpoint has them: a resumed run logs the same digits.

    Args:
        saved: What `to_json` gave.
    """

    def __init__(self, saved: dict[str, Any] | None = None):
        self._count: int = saved["count"] if saved else 0
        self._sums = {name: np.array(values, float) for name, values in (saved["sums"] if saved else {}).items()}
        self._last: dict[str, np.ndarray] = {}

    def add(self, metrics: dict[str, np.ndarray]) -> None:
        """Count the metrics of an update, leaves [S]; those of episodes are not for here."""
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
        """What a row of each seed says about the updates since the last call."""
        means = {name: values if name in LARGEST else values / self._count for name, values in self._sums.items()}
        columns = means | self._last
        self._count, self._sums, self._last = 0, {}, {}
        num_seeds = len(next(iter(columns.values())))
        return [{name: float(values[i]) for name, values in columns.items()} for i in range(num_seeds)]

    def to_json(self) -> dict[str, Any]:
        """What a resumed run has to know."""
        return {"count": self._count, "sums": {name: values.tolist() for name, values in self._sums.items()}}
