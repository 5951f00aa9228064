"""What evaluated episodes come to, as statistics and as a table."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from rlformers.experiment.statistics.over_seeds import iqm, over_seeds, spread_in_words
from rlformers.experiment.statistics.over_tasks import MIN_TASKS, clustered_mean_ci


def summarise(values: dict[str, np.ndarray]) -> dict[str, Any]:
    """Statistics of every kind of value [S, N, ...] of N episodes of S seeds, entry by entry of the further axes.

    Of `<what>_return` only those count for which `<what>_count`, of the same shape, is not 0: a
    trial that a number of steps ends has more attempts in one episode than in another. `task` [S,
    N, ...] is no number to average: it says which episodes had the same task. `ci95` of each seed
    and `task_ci95` of all together are intervals over tasks, None with too few of them
    (`over_tasks.MIN_TASKS`). `ci95` and `range` of all together are over seeds.
    """
    some = next(iter(values.values()))
    every_other = np.broadcast_to(np.arange(some.shape[1]), some.shape[:2])
    tasks = values.get("task", every_other).reshape(*some.shape[:2], -1)
    results = {}
    for name, array in values.items():
        if name != "task":
            what, _, kind = name.rpartition("_")
            counts = values.get(f"{what}_count") if kind == "return" else None
            known = np.ones(array.shape, bool) if counts is None else counts > 0
            columns = [_statistics(*column, tasks) for column in zip(_columns(array), _columns(known), strict=True)]
            results[name] = {"shape": array.shape[2:], "entries": columns} if array.ndim > 2 else columns[0]
    return results


def _columns(array: np.ndarray) -> np.ndarray:
    """[S, N, ...] as [C, S, N]."""
    return np.moveaxis(array.reshape(*array.shape[:2], -1), -1, 0)


def _statistics(values: np.ndarray, known: np.ndarray, tasks: np.ndarray) -> dict[str, Any]:
    """Of one number per episode [S, N], of the known ones; None where there is nothing to take a mean of."""
    per_seed = [
        _over(row[mask].astype(float), functools.partial(clustered_mean_ci, clusters=which[mask]))
        for row, mask, which in zip(values, known, tasks, strict=True)
    ]
    means = over_seeds([seed["mean"] for seed in per_seed])
    over_tasks = clustered_mean_ci(values[known].astype(float), tasks[known]) if known.any() else None
    return means | {"task_ci95": over_tasks, "per_seed": per_seed}


def _over(values: np.ndarray, interval: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """Mean, IQM and 95 % interval of some values."""
    if not len(values):
        return {"mean": None, "iqm": None, "ci95": None}
    return {"mean": float(values.mean()), "iqm": iqm(values), "ci95": interval(values)}


def table(result: dict[str, Any]) -> str:
    """A result for people."""

    def interval(bounds: Any) -> str:
        return "-" if bounds is None else "[{:.3f}, {:.3f}]".format(*bounds)

    def line(name: Any, mean: float, middle: float, spread: str, length: float) -> str:
        return f"{name:>6}{mean:>10.3f}{middle:>10.3f}{length:>10.1f}  {spread}"

    returns, lengths = result["results"]["return"], result["results"]["length"]
    how = "greedy" if result["greedy"] else "sampled"
    lines = [
        f"{result['env']} {result['core']} after {result['checkpoint']['step']:,} steps: "
        f"{result['episodes_per_seed']:,} episodes of each seed, {how}",
        f"{'seed':>6}{'mean':>10}{'IQM':>10}{'length':>10}  95 % interval of the mean (from {MIN_TASKS} tasks on)",
    ]
    for seed, row, length in zip(result["seeds"], returns["per_seed"], lengths["per_seed"], strict=True):
        lines.append(line(seed, row["mean"], row["iqm"], interval(row["ci95"]), length["mean"]))
    if len(result["seeds"]) > 1:
        spread = spread_in_words([row["mean"] for row in returns["per_seed"]])
        lines.append(line("all", returns["mean"], returns["iqm"], spread, lengths["mean"]))
    for name, entries in result["results"].items():
        if "entries" in entries and not name.endswith("_count"):
            lines.append(f"{name.replace('_', ' ')}, over all seeds, 95 % interval over tasks:")
            for number, entry in enumerate(entries["entries"], 1):
                mean = "-" if entry["mean"] is None else f"{entry['mean']:.3f}"
                lines.append(f"{number:>6}{mean:>10}  {interval(entry['task_ci95'])}")
    return "\n".join(lines)
