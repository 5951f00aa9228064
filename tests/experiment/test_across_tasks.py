"""Comparisons over tasks against numbers worked out by hand, SciPy's tests, and slow loops."""

import itertools

import numpy as np
import pytest
from scipy import stats

from rlformers.experiment.statistics.across_tasks import (
    aggregate,
    performance_profile,
    probability_of_improvement,
    share_interval,
)
from rlformers.experiment.statistics.permutation_test import p_value

X = [np.array([1.0, 2.0]), np.array([5.0, 6.0, 9.0])]
Y = [np.array([1.0, 3.0]), np.array([5.0, 4.0])]


def test_aggregate_is_the_interquartile_mean_of_all_runs():
    assert aggregate([np.array([0.0, 5.0, 2.0, 7.0]), np.array([4.0, 1.0, 6.0, 3.0])]).value == 3.5
    assert aggregate(X).value == pytest.approx((2 + 5 + 6) / 3)


def test_probability_of_improvement_counts_pairs_with_ties_half():
    # Task 1: 1 = 1, 1 < 3, 2 > 1, 2 < 3. Task 2: one tie, five wins.
    assert probability_of_improvement(X, Y) == pytest.approx((1.5 / 4 + 5.5 / 6) / 2)
    assert probability_of_improvement(Y, X) == pytest.approx(1 - (1.5 / 4 + 5.5 / 6) / 2)


def test_probability_of_improvement_is_mann_whitneys_u():
    rng = np.random.default_rng(0)
    xs, ys = ([rng.integers(6, size=size).astype(float) for size in sizes] for sizes in ((5, 3), (4, 7)))
    shares = [stats.mannwhitneyu(x, y).statistic / (x.size * y.size) for x, y in zip(xs, ys, strict=True)]
    assert probability_of_improvement(xs, ys) == pytest.approx(np.mean(shares))


def test_a_profile_is_the_share_of_runs_above():
    share, low, high = performance_profile(X, np.array([0.0, 2.0, 5.5, 9.0]))
    np.testing.assert_allclose(share, [1, 3 / 5, 2 / 5, 0])
    for i, count in enumerate((5, 3, 2, 0)):
        expected = stats.binomtest(count, 5).proportion_ci(0.95, "exact")
        assert (low[i], high[i]) == pytest.approx((expected.low, expected.high))
    assert share_interval(5, 10, 0.5)[0] == pytest.approx(stats.binomtest(5, 10).proportion_ci(0.5, "exact").low)


def test_the_interval_of_an_aggregate_agrees_with_a_slow_loop():
    """One seed fewer than there are is drawn again on every task, 4000 times, one by one."""
    rng = np.random.default_rng(2)
    samples = [mean + rng.normal(size=size) for mean, size in ((0, 9), (3, 11))]
    found = []
    for _ in range(4000):
        drawn = [sample[rng.integers(len(sample))] for sample in samples for _ in sample[1:]]
        found.append(sum(sorted(drawn)[4:14]) / 10)
    np.testing.assert_allclose(aggregate(samples).interval, np.quantile(found, [0.025, 0.975]), atol=0.15)


def test_resampling_stays_within_tasks():
    apart = [np.full(8, 0.0), np.full(8, 100.0)]
    assert aggregate(apart).interval == (50.0, 50.0)


def test_few_seeds_on_a_task_have_no_interval():
    few = [np.arange(8.0), np.arange(7.0)]
    assert aggregate(few).interval is None and aggregate(few).value == pytest.approx(29 / 9)


def test_p_is_scipys_of_the_mann_whitney_statistic():
    rng = np.random.default_rng(0)
    for n, m in ((2, 2), (3, 4), (5, 5), (8, 6)):
        x, y = rng.normal(size=n), rng.normal(size=m) + 1
        assert p_value([x], [y]) == pytest.approx(stats.mannwhitneyu(x, y, method="exact").pvalue)
    assert p_value([np.array([1.0, 2.0])], [np.array([3.0, 4.0])]) == pytest.approx(1 / 3)


def test_p_over_tasks_agrees_with_all_permutations_within_them():
    rng = np.random.default_rng(1)
    xs, ys = ([shift + rng.integers(6, size=3).astype(float) for _ in range(2)] for shift in (0, 2))
    found = []
    pooled = [np.concatenate(pair) for pair in zip(xs, ys, strict=True)]
    for first, second in itertools.product(itertools.combinations(range(6), 3), repeat=2):
        split = [(both[list(c)], np.delete(both, c)) for both, c in zip(pooled, (first, second), strict=True)]
        found.append(abs(probability_of_improvement([x for x, _ in split], [y for _, y in split]) - 0.5))
    seen = abs(probability_of_improvement(xs, ys) - 0.5)
    assert p_value(xs, ys) == pytest.approx(np.mean(np.array(found) >= seen - 1e-9))


def test_random_permutations_agree_with_all_of_them(monkeypatch):
    rng = np.random.default_rng(0)
    xs, ys = ([rng.normal(size=5) + shift for _ in range(2)] for shift in (0.0, 0.5))
    drawn = p_value(xs, ys)  # 252 ** 2 ways
    monkeypatch.setattr("rlformers.experiment.statistics.permutation_test.EXACT", 100_000)
    assert drawn == pytest.approx(p_value(xs, ys), abs=0.015)
    assert p_value([np.arange(20.0)], [np.arange(20.0) + 100]) == 1e-4  # never 0
