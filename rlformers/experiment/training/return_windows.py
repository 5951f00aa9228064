"""Finds the best checkpoint of a run without evaluations: the one with the highest returns in training.

The returns are means over windows that the configuration fixes. Means since the last checkpoint
would depend on the clock and on signals, and a short window with few episodes can be lucky.
"""

from typing import Any

import numpy as np

from rlformers.config import ExperimentConfig

WINDOWS = 20  # at most per run; this also limits how often a state is saved as the best so far


class ReturnWindows:
    """Mean return over all seeds of the episodes that end in each window of training.

    A window has a twentieth of the updates, rounded up. The first one is longer, so that the last
    one ends with the run.

    Args:
        config: The configuration of the run.
        saved: The result of `to_json`, to count on from there. If the run has been extended since,
            the current window ends where a window of the longer run ends.
    """

    def __init__(self, config: ExperimentConfig, saved: dict[str, Any] | None = None):
        self._last = config.num_updates
        self._size = -(-self._last // WINDOWS)
        self._first = self._last - (self._last // self._size - 1) * self._size
        self._total: float
        self._count: float
        self._total, self._count = saved["sums"] if saved else (0.0, 0.0)
        self._found: tuple[int, float] | None = None  # the last update that ended a window, and its score

    def next_end(self, done: int) -> int:
        """The first update after number `done` that ends a window; the last update if none does."""
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
        """The state that a resumed run needs."""
        return {"sums": [self._total, self._count]}
