"""Statistics over seeds."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats


def iqm(values: Sequence[float] | np.ndarray) -> float:
    """Interquartile mean: the mean without the lowest and highest quarter, rounded down to whole values.

    Agarwal et al. 2021. With fewer than 4 values nothing is cut and it is the mean.
    """
    return float(stats.trim_mean(np.ravel(values), 0.25))


def bootstrap_ci(
    values: Sequence[float], statistic: Callable[[np.ndarray], float] = iqm, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over at least 2 values, from 2000 resamples."""
    array = np.asarray(values, float)
    rng = np.random.default_rng(seed)
    samples = [statistic(array[rng.integers(len(array), size=len(array))]) for _ in range(2000)]
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
