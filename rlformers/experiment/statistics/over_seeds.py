"""Statistics over seeds."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats


def iqm(values: Sequence[float] | np.ndarray, axis: int | None = None) -> Any:
    """Interquartile mean: the mean without the lowest and highest quarter, rounded down to whole values.

    Agarwal et al. 2021. With fewer than 4 values nothing is cut and it is the mean. Over all values, or along an axis.
    """
    if axis is None:
        return float(stats.trim_mean(np.ravel(values), 0.25))
    return stats.trim_mean(values, 0.25, axis)


def bootstrap_ci(
    values: Sequence[float] | np.ndarray, statistic: Callable[..., Any] = iqm, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over at least 2 values, from 2000 resamples.

    `statistic(array, axis=-1)` is that of every row.
    """
    return _interval((np.asarray(values, float),), statistic, level)


def over_seeds(per_seed: Sequence[float | None]) -> dict[str, Any]:
    """Mean, IQM and 95 % interval of the IQM over the seeds that have a value."""
    known = [value for value in per_seed if value is not None]
    if not known:
        return {"per_seed": list(per_seed), "mean": None, "iqm": None, "ci95": None}
    return {
        "per_seed": list(per_seed),
        "mean": float(np.mean(known)),
        "iqm": float(iqm(known)),
        "ci95": list(bootstrap_ci(known)) if len(known) > 1 else None,
    }


def clustered_mean_ci(values: np.ndarray, clusters: np.ndarray, level: float = 0.95) -> tuple[float, float] | None:
    """Bootstrap interval of the mean of values [N] that come in clusters, of which there could have been others.

    Trials of one task are alike: an interval that resamples trials says how well the mean over these tasks is known,
    one that resamples tasks, as here, how well that over all tasks is. Every value a cluster: the usual bootstrap.

    Args:
        values: One number per trial.
        clusters: A row of numbers [N, n] per trial; equal rows are one cluster.
        level: Chance that the interval holds the mean.

    Returns:
        The interval, None for a single cluster.
    """
    _, index = np.unique(clusters, axis=0, return_inverse=True)
    sums, counts = np.bincount(index.ravel(), values), np.bincount(index.ravel())
    if len(sums) < 2:
        return None
    return _interval((sums, counts), lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis), level)


def _interval(samples: tuple[np.ndarray, ...], statistic: Callable[..., Any], level: float) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of samples [N] that belong together, from 2000 resamples."""
    result = stats.bootstrap(
        samples,
        statistic,
        n_resamples=2000,
        batch=max(1, 1_000_000 // len(samples[0])),  # so many resamples in memory at a time
        confidence_level=level,
        vectorized=True,
        paired=True,
        method="percentile",
        rng=0,
    )
    low, high = result.confidence_interval
    return float(low), float(high)
