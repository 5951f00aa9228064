"""Statistics over seeds and tasks, with hand numbers and against NumPy."""

import numpy as np
import pytest

from rlformers.experiment.statistics.over_seeds import bootstrap_ci, clustered_mean_ci, iqm, over_seeds


@pytest.mark.parametrize(
    "values,expected",
    [([0, 1, 2, 99], 1.5), ([0, 1, 2, 3, 99], 2.0), (range(7, -1, -1), 3.5), ([0, 0, 4, 6, 50, 99, 99, 99], 39.75)]
    + [([1, 2, 9], 4.0), ([7], 7.0)],  # nothing is cut
)
def test_the_lowest_and_highest_quarter_are_cut(values, expected):
    assert iqm(np.array(values, float)) == pytest.approx(expected)
    assert iqm(np.array([list(values)] * 2, float), axis=1).tolist() == pytest.approx([expected] * 2)


def test_mean_iqm_and_interval_over_the_seeds_that_have_a_value():
    result = over_seeds([1.0, None, 2.0, 3.0, 10.0, 4.0])
    assert result["per_seed"] == [1.0, None, 2.0, 3.0, 10.0, 4.0]
    assert (result["mean"], result["iqm"]) == pytest.approx((4.0, 3.0))
    low, high = result["ci95"]
    assert 1.0 <= low < 3.0 < high <= 10.0
    assert over_seeds([None])["mean"] is None and over_seeds([5.0])["ci95"] is None


def test_an_interval_covers_what_it_says():
    """Of a mean of 200 normal numbers: 1.96 standard errors to either side."""
    values = np.random.default_rng(0).normal(size=200)
    low, high = bootstrap_ci(values, lambda x, axis: np.mean(x, axis))
    half = 1.96 * values.std() / 200**0.5
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    narrow = bootstrap_ci(values, lambda x, axis: np.mean(x, axis), level=0.5)
    assert narrow[1] - narrow[0] == pytest.approx(2 * 0.6745 * half / 1.96, rel=0.1)


def test_clusters_are_resampled_whole_and_weigh_as_many_trials_as_they_have():
    clusters = np.repeat(np.arange(20), np.where(np.arange(20) < 10, 1, 9))[:, None]
    values = (clusters[:, 0] >= 10).astype(float) + 0.01 * np.arange(len(clusters)) % 1e-3
    low, high = clustered_mean_ci(values, clusters)
    assert values.mean() == pytest.approx(0.9, abs=0.01) and low < 0.9 < high
    assert high - low > 0.1  # 20 tasks, not 100 trials
    alone = clustered_mean_ci(values, np.arange(len(values))[:, None])
    assert high - low > 1.2 * (alone[1] - alone[0])
    assert clustered_mean_ci(values, np.zeros((len(values), 1))) is None
