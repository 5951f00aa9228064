"""Comparison of methods over several tasks (Agarwal et al. 2021, Deep RL at the Edge of the Statistical Precipice).

A method's results are one array per task, the scores of its seeds there; tasks may differ in their number of seeds.
Intervals are percentile bootstrap intervals, stratified: seeds are drawn again within each task, tasks stay. They say
how well a quantity is known on these tasks, and need at least two seeds on each; None otherwise.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from rlformers.experiment.statistics.over_seeds import iqm

Samples = Sequence[np.ndarray]


class Estimate(NamedTuple):
    """A number and its 95 % interval."""

    value: float
    interval: tuple[float, float] | None


def aggregate(samples: Samples) -> Estimate:
    """IQM of the scores of all tasks and seeds together; normalise them first.

    Every run weighs the same, so a task with more seeds weighs more.
    """

    def statistic(*samples: np.ndarray, axis: int = -1) -> Any:
        return iqm(np.concatenate(samples, axis), axis)

    return Estimate(float(statistic(*samples)), _interval(samples, statistic))


def probability_of_improvement(samples: Samples, others: Samples) -> Estimate:
    """P(X > Y) + P(X = Y) / 2 for a run of one method and one of another on the same task, averaged over tasks.

    On one task it is the Mann-Whitney U statistic over the number of pairs. Scores need no common scale.

    Args:
        samples: Of X, one array per task.
        others: Of Y, in the same order of tasks.
    """
    num_tasks = len(samples)

    def statistic(*both: np.ndarray, axis: int = -1) -> Any:
        wins = [
            (np.sign(x[..., :, None] - y[..., None, :]).mean((-1, -2)) + 1) / 2
            for x, y in zip(both[:num_tasks], both[num_tasks:], strict=True)
        ]
        return np.mean(wins, axis=0)

    both = (*samples, *others)
    return Estimate(float(statistic(*both)), _interval(both, statistic))


def performance_profile(samples: Samples, taus: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of the runs, of all tasks together, whose score exceeds τ, for thresholds τ [K].

    Returns:
        The shares [K], and the ends of their 95 % intervals, nan if there are none.
    """
    above = [(scores > taus[:, None]).astype(float) for scores in samples]  # [K, S] each

    def statistic(*above: np.ndarray, axis: int = -1) -> Any:
        return np.concatenate(above, axis).mean(axis)

    nothing = np.full(len(taus), np.nan)
    low, high = _interval(above, statistic) or (nothing, nothing)
    return statistic(*above), np.asarray(low), np.asarray(high)


def _interval(samples: Samples, statistic: Callable[..., Any]) -> Any:
    """Ends of the interval of `statistic(*samples, axis=-1)`."""
    if min(sample.shape[-1] for sample in samples) < 2:
        return None
    result = stats.bootstrap(
        tuple(samples), statistic, n_resamples=2000, batch=500, vectorized=True, axis=-1, method="percentile", rng=0
    )
    low, high = result.confidence_interval
    return (float(low), float(high)) if np.ndim(low) == 0 else (low, high)
