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
    values: Sequence[float] | np.ndarray,
    statistic: Callable[..., Any] = iqm,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over at least 2 values, from 2000 resamples.

    `statistic(array, axis=-1)` is that of every row.
    """
    array = np.asarray(values, float)
    rng = np.random.default_rng(seed)
    rows = max(1, 1_000_000 // len(array))  # so many resamples at a time
    samples = [
        statistic(array[rng.integers(len(array), size=(min(rows, 2000 - i), len(array)))], axis=-1)
        for i in range(0, 2000, rows)
    ]
    low, high = np.quantile(np.concatenate(samples), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
