"""Comparisons over tasks against numbers worked out by hand, SciPy's tests, and slow loops."""

import numpy as np
import pytest
from scipy import stats

from rlformers.experiment.statistics.across_tasks import aggregate, performance_profile, probability_of_improvement

X = [np.array([1.0, 2.0]), np.array([5.0, 6.0, 9.0])]
Y = [np.array([1.0, 3.0]), np.array([5.0, 4.0])]


def test_aggregate_is_the_interquartile_mean_of_all_runs():
    assert aggregate([np.array([0.0, 5.0, 2.0, 7.0]), np.array([4.0, 1.0, 6.0, 3.0])]).value == 3.5
    assert aggregate(X).value == pytest.approx((2 + 5 + 6) / 3)


def test_probability_of_improvement_counts_pairs_with_ties_half():
    # Task 1: 1 = 1, 1 < 3, 2 > 1, 2 < 3. Task 2: one tie, five wins.
    assert probability_of_improvement(X, Y).value == pytest.approx((1.5 / 4 + 5.5 / 6) / 2)
    assert probability_of_improvement(Y, X).value == pytest.approx(1 - (1.5 / 4 + 5.5 / 6) / 2)


def test_probability_of_improvement_is_mann_whitneys_u():
    rng = np.random.default_rng(0)
    xs, ys = ([rng.integers(6, size=size).astype(float) for size in sizes] for sizes in ((5, 3), (4, 7)))
    shares = [stats.mannwhitneyu(x, y).statistic / (x.size * y.size) for x, y in zip(xs, ys, strict=True)]
    assert probability_of_improvement(xs, ys).value == pytest.approx(np.mean(shares))


def test_a_profile_is_the_share_of_runs_above():
    share, low, high = performance_profile(X, np.array([0.0, 2.0, 5.5, 9.0]))
    np.testing.assert_allclose(share, [1, 3 / 5, 2 / 5, 0])
    assert low[0] == high[0] == 1 and low[3] == high[3] == 0 and low[2] <= 2 / 5 <= high[2]


def slow_interval(samples, statistic):
    """Draw the seeds of every task again, 4000 times, one by one."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(4000):
        drawn = [[sample[rng.integers(len(sample))] for _ in sample] for sample in samples]
        found.append(statistic(drawn))
    return np.quantile(found, [0.025, 0.975])


def test_intervals_agree_with_slow_loops():
    rng = np.random.default_rng(2)
    xs, ys = (
        [mean + rng.normal(size=size) for mean, size in zip((0, 3), sizes, strict=True)] for sizes in ((8, 6), (5, 9))
    )

    def middle(drawn):
        values = sorted(drawn[0] + drawn[1])
        return sum(values[3:11]) / 8

    def wins(drawn):
        shares = []
        for x, y in zip(drawn[:2], drawn[2:], strict=True):
            shares.append(sum((a > b) + (a == b) / 2 for a in x for b in y) / (len(x) * len(y)))
        return sum(shares) / 2

    def above(drawn):
        return sum(value > 1.5 for sample in drawn for value in sample) / 14

    np.testing.assert_allclose(aggregate(xs).interval, slow_interval(xs, middle), atol=0.1)
    np.testing.assert_allclose(probability_of_improvement(xs, ys).interval, slow_interval([*xs, *ys], wins), atol=0.03)
    _, low, high = performance_profile(xs, np.array([1.5]))
    np.testing.assert_allclose([low[0], high[0]], slow_interval(xs, above), atol=1 / 14 + 1e-9)


def test_resampling_stays_within_tasks():
    apart = [np.full(3, 0.0), np.full(3, 100.0)]
    assert aggregate(apart).interval == (50.0, 50.0)


def test_one_seed_on_a_task_has_no_interval():
    single = [np.array([1.0, 2.0]), np.array([3.0])]
    assert aggregate(single).interval is None and aggregate(single).value == 2.0
    assert probability_of_improvement(X, [Y[0], np.array([1.0])]).interval is None
    assert np.isnan(performance_profile(single, np.array([0.0, 1.0]))[1:]).all()
