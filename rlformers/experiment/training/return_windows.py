"""Which checkpoint is the best one where nothing is evaluated: that with the highest returns in training.

They are means over parts of the run that its configuration fixes. Means since the last checkpoint would be over parts
that the clock and signals decide, and short ones, with few episodes, can be lucky.
"""

from typing import Any

import numpy as np

from rlformers.config import ExperimentConfig

WINDOWS = 20  # of a run, at most; so often a state is saved for being the best so far


class ReturnWindows:
    """Mean return over all seeds of the episodes that end in each window of training.

    A window has a twentieth of the updates, rounded up; the first one has more, so that the last one ends with the run.

    Args:
        config: The run's.
        saved: What `to_json` gave, to count on from there. If the run has been extended since, the window under way
            ends where one of the longer run does.
    """

    def __init__(self, config: ExperimentConfig, saved: dict[str, Any] | None = None):
        self._last = config.num_updates
        self._size = -(-self._last // WINDOWS)
        self._first = self._last - (self._last // self._size - 1) * self._size
        self._total: float
        self._count: float
        self._total, self._count = saved["sums"] if saved else (0.0, 0.0)
        self._found: tuple[int, float] | None = None  # the update that ended a window last, and its score

    def next_end(self, done: int) -> int:
        """The first update after number `done` that ends a window; the last update if there is none."""
        left = max(0, self._last - done - 1) // self._size
        return max(self._first, self._last - left * self._size)

    def add(self, update: int, metrics: dict[str, np.ndarray]) -> None:
        """Count the episodes that ended in update number `update`, the first being 1."""
        self._total += float(metrics["episode/return"].sum(dtype=float))
        self._count += float(metrics["episode/count"].sum())
        if update == self.next_end(update - 1):
            self._found = (update, self._total / self._count) if self._count else None
            self._total = self._count = 0.0

    def score(self, update: int) -> float | None:
        """Mean return over the window that ended with an update; None if none did, or no episode ended in it."""
        return self._found[1] if self._found and self._found[0] == update else None

    def to_json(self) -> dict[str, Any]:
        """What a resumed run has to know."""
        return {"sums": [self._total, self._count]}
