"""Whether two methods differ: a permutation test of the probability of improvement."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

EXACT = 20_000  # up to so many ways of sharing out the runs are all looked at
DRAWN = 9_999  # so many random ones where there are more


def p_value(samples: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> float:
    """Chance of a probability of improvement as far from 0.5, or farther, if the two methods were the same.

    Were they the same, which of the runs on a task belong to which method would be chance. All ways
    to share them out within the tasks are looked at, or 9,999 random ones with the one at hand,
    from a fixed seed, where there are more than 20,000. Two-sided. A p below 0.05 comes up in at
    most 5 % of all comparisons of equal methods, with any number of seeds: with 2 or 3 seeds of
    each on one task, where p is at least 1/3 or 1/10, never.

    Args:
        samples: Scores of one method, an array per task.
        others: Scores of the other, in the same order of tasks.
    """
    pooled = [np.concatenate(pair) for pair in zip(samples, others, strict=True)]
    # The share of pairs that X wins is linear in the ranks of its runs: U = sum of ranks - n (n + 1) / 2.
    scale = [len(x) * len(y) * len(pooled) for x, y in zip(samples, others, strict=True)]
    weights = [(_ranks(both) - (len(both) + 1) / 2) / size for both, size in zip(pooled, scale, strict=True)]
    seen = abs(sum(float(w[: len(x)].sum()) for w, x in zip(weights, samples, strict=True)))
    ways = math.prod(math.comb(len(both), len(x)) for both, x in zip(pooled, samples, strict=True))
    if ways <= EXACT:
        found = np.zeros(1)
        for w, x in zip(weights, samples, strict=True):
            chosen = np.array(list(itertools.combinations(range(len(w)), len(x))))
            found = (found[:, None] + w[chosen].sum(axis=1)).ravel()
        return float(np.mean(np.abs(found) >= seen - 1e-9))
    rng = np.random.default_rng(0)
    drawn = np.zeros(DRAWN)
    for w, x in zip(weights, samples, strict=True):
        order = rng.permuted(np.broadcast_to(w, (DRAWN, len(w))), axis=1)
        drawn += order[:, : len(x)].sum(axis=1)
    return float((np.sum(np.abs(drawn) >= seen - 1e-9) + 1) / (DRAWN + 1))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, those of equal values averaged."""
    return (values[:, None] > values).sum(axis=1) + ((values[:, None] == values).sum(axis=1) + 1) / 2
