"""Returns and lengths of the episodes that end during training, and of the attempts of trials."""

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from rlformers.config import ExperimentConfig
from rlformers.experiment.statistics.over_seeds import over_seeds

# final_return covers the episodes that ended in this last part of the steps.
FINAL_FRACTION = 0.1
# It is kept as this many sums, each over some updates: an extended run keeps the sums that still
# count.
FINAL_PARTS = 100
# The learner's own sums. The last two exist where episodes are trials; they are arrays over the
# attempts.
SUMS = ("return", "length", "count", "attempt_return", "attempt_count")
# Left out, because a sum of task numbers means nothing.
_LEFT_OUT = ("task",)

Window = dict[str, np.ndarray]


class EpisodeSums:
    """Sums and counts of finished episodes: memory is bounded, and no episode never becomes a NaN.

    A window is a dict of the learner's metrics `episode/*`, summed over updates: arrays whose first
    axis is the seeds.
    """

    def __init__(self, config: ExperimentConfig, num_seeds: int):
        self.num_updates = config.num_updates
        self.final_from = config.num_updates * (1 - FINAL_FRACTION)
        self.may_end = config.stop_return is not None  # before its last update: then its last tenth is always kept
        self.nothing = {name: np.zeros(num_seeds) for name in ("return", "length", "count")}
        self.window = self.nothing  # since the last log point
        self.final_parts: list[tuple[int, Window]] = []  # each with the number of its first update
        self.final_part_size = math.ceil(config.num_updates * FINAL_FRACTION / FINAL_PARTS)  # updates
        self.last_return: float | None = None

    def add(self, update: int, metrics: dict[str, np.ndarray]) -> None:
        """Count the episodes that ended in update number `update`, the first being 1."""
        everything = {
            name: values.astype(float)
            for metric, values in metrics.items()
            for name in [metric.removeprefix("episode/")]
            if name != metric and name not in _LEFT_OUT and values.ndim <= 2
        }
        sums = {name: everything[name] for name in SUMS if name in everything}
        self.window = _plus(self.window, everything)
        final = update > self.final_from
        if final or self.may_end:
            last = self.final_parts[-1][0] if self.final_parts else None
            if last is not None and update < last + self.final_part_size and final == (last > self.final_from):
                first, part = self.final_parts.pop()
                self.final_parts.append((first, _plus(part, sums)))
            else:
                self.final_parts.append((update, sums))
        if self.may_end:
            self.final_parts = [part for part in self.final_parts if self._still_counts(part[0], update)]

    def _still_counts(self, first: int, update: int) -> bool:
        """Whether the sums from an update on are of the last tenth of what has been made, or begin just before it."""
        if update == self.num_updates:
            return first > self.final_from
        return first + self.final_part_size > update * (1 - FINAL_FRACTION) + 1

    def pop(self) -> list[dict[str, float | int | None]]:
        """Means since the last call, per seed; None where no episode ended.

        Where episodes are trials, `attempt_k` is the mean return of the k-th attempt over the
        trials that completed it. Other numbers that an environment reports keep their names; the
        k-th entry of an array is `name_k`.
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
                **_others(window, i),
            }
            for i, (count, attempts) in enumerate(zip(window["count"], _attempts(window), strict=True))
        ]

    def final(self, sound: Sequence[bool] | None = None) -> dict[str, Any]:
        """Mean return of the episodes that ended in the last tenth of the steps, per seed and over the `sound` seeds.

        If the run may end early, these are the steps that it has made. `n` is the number of seeds in
        the statistics.
        """
        window = self._final_window()
        means = _means(window["return"], window["count"])
        if sound is not None:
            means = [mean if good else None for mean, good in zip(means, sound, strict=True)]
        return over_seeds(means) | {"n": sum(mean is not None for mean in means)}

    def final_attempts(self) -> list[list[float | None]]:
        """Mean returns of the attempts of the trials that ended in the last tenth of the steps, [seeds][attempts]."""
        return _attempts(self._final_window())

    def _final_window(self) -> Window:
        return reduce(_plus, (part for _, part in self.final_parts), self.nothing)

    def to_json(self) -> dict[str, Any]:
        """The state that `restore` needs to continue exactly."""
        return {
            "final_from": self.final_from,
            "window": _lists(self.window),
            "final_parts": [[first, _lists(part)] for first, part in self.final_parts],
            "last_return": self.last_return,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue from a checkpoint. If the run has been extended since, drop the sums before its new last tenth.

        A sum over several updates that began before that tenth is dropped too: up to 1 % of the
        tenth.
        """
        self.window = _arrays(saved["window"])
        self.last_return = saved["last_return"]
        parts = saved.get("final_parts")
        if parts is None:  # an older checkpoint has one sum
            parts = [[math.floor(saved["final_from"]) + 1, saved["final_window"]]]
        self.final_parts = [(first, _arrays(part)) for first, part in parts if first > self.final_from or self.may_end]


def _plus(window: Window, sums: Window) -> Window:
    return {name: window.get(name, 0.0) + value for name, value in sums.items()}


def _means(sums: np.ndarray, counts: np.ndarray) -> list[float | None]:
    return [float(total / n) if n else None for total, n in zip(sums, counts, strict=True)]


def _attempts(window: Window) -> list[list[float | None]]:
    """Mean return of every attempt, [seeds][attempts]; no attempts where episodes are not trials."""
    if "attempt_return" not in window:
        return [[] for _ in window["count"]]
    return [_means(*sums) for sums in zip(window["attempt_return"], window["attempt_count"], strict=True)]


def _others(window: Window, seed: int) -> dict[str, float | None]:
    """Means over the episodes of a seed of all that its environment reports beyond the learner's own sums."""
    means: dict[str, float | None] = {}
    for name in sorted(set(window) - set(SUMS)):
        values, count = window[name][seed], window["count"][seed]
        numbered = {f"{name}_{k}": entry for k, entry in enumerate(values, start=1)} if values.ndim else {name: values}
        means |= {f"episode/{key}": float(total / count) if count else None for key, total in numbered.items()}
    return means


def _lists(window: Window) -> dict[str, list]:
    return {name: value.tolist() for name, value in window.items()}


def _arrays(lists: dict[str, list]) -> Window:
    return {name: np.array(value) for name, value in lists.items()}
