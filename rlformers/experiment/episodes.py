"""Returns and lengths of the episodes that end during training, and of the attempts of trials."""

from typing import Any

import numpy as np

from rlformers.config import ExperimentConfig
from rlformers.experiment.statistics import over_seeds

# final_return covers the episodes that ended in this last part of the steps.
FINAL_FRACTION = 0.1
# The metrics that are summed; the last two, arrays over the attempts, where episodes are trials (`envs/meta/trial.py`).
SUMS = ("return", "length", "count", "attempt_return", "attempt_count")

Window = dict[str, np.ndarray]


class EpisodeSums:
    """What finished episodes add up to, as sums and counts: memory is bounded, and no episode is no NaN.

    A window is a dict of the learner's metrics `episode/*` summed over updates, arrays whose first axis is the seeds.
    """

    def __init__(self, config: ExperimentConfig, num_seeds: int):
        self.final_from = config.num_updates * (1 - FINAL_FRACTION)
        self.nothing = {name: np.zeros(num_seeds) for name in ("return", "length", "count")}
        self.window = self.nothing  # since the last log point
        self.final_window = self.nothing
        self.last_return: float | None = None

    def add(self, update: int, metrics: dict[str, np.ndarray]) -> None:
        """Count the episodes that ended in update number `update`, the first being 1."""
        sums = {name: metrics[f"episode/{name}"].astype(float) for name in SUMS if f"episode/{name}" in metrics}
        self.window = _plus(self.window, sums)
        if update > self.final_from:
            self.final_window = _plus(self.final_window, sums)

    def pop(self) -> list[dict[str, float | int | None]]:
        """Means since the last call, per seed; None where no episode ended.

        Where episodes are trials, `attempt_k` is the mean return of the k-th attempt of those that completed it.
        """
        window, self.window = self.window, self.nothing
        if window["count"].sum():
            self.last_return = float(window["return"].sum() / window["count"].sum())
        returns, lengths = (_means(window[name], window["count"]) for name in ("return", "length"))
        return [
            {
                "episode/return": returns[i],
                "episode/length": lengths[i],
                "episode/count": int(count),
                **{f"episode/attempt_{k}": mean for k, mean in enumerate(attempts, start=1)},
            }
            for i, (count, attempts) in enumerate(zip(window["count"], _attempts(window), strict=True))
        ]

    def final(self) -> dict[str, Any]:
        """Mean return of the episodes that ended in the last tenth of the steps, per seed and over seeds."""
        return over_seeds(_means(self.final_window["return"], self.final_window["count"]))

    def final_attempts(self) -> list[list[float | None]]:
        """Mean returns of the attempts of the trials that ended in the last tenth of the steps, [seeds][attempts]."""
        return _attempts(self.final_window)

    def to_json(self) -> dict[str, Any]:
        """What `restore` needs to count on exactly."""
        return {
            "final_from": self.final_from,
            "window": _lists(self.window),
            "final_window": _lists(self.final_window),
            "last_return": self.last_return,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Count on from a checkpoint. If the run has been extended since, its last tenth begins anew."""
        self.window = _arrays(saved["window"])
        self.last_return = saved["last_return"]
        if saved["final_from"] == self.final_from:
            self.final_window = _arrays(saved["final_window"])


def _plus(window: Window, sums: Window) -> Window:
    return {name: window.get(name, 0.0) + value for name, value in sums.items()}


def _means(sums: np.ndarray, counts: np.ndarray) -> list[float | None]:
    return [float(total / n) if n else None for total, n in zip(sums, counts, strict=True)]


def _attempts(window: Window) -> list[list[float | None]]:
    """Mean return of every attempt, [seeds][attempts]; no attempts where episodes are no trials."""
    if "attempt_return" not in window:
        return [[] for _ in window["count"]]
    return [_means(*sums) for sums in zip(window["attempt_return"], window["attempt_count"], strict=True)]


def _lists(window: Window) -> dict[str, list]:
    return {name: value.tolist() for name, value in window.items()}


def _arrays(lists: dict[str, list]) -> Window:
    return {name: np.array(value) for name, value in lists.items()}
