"""Statistics over seeds and tasks, with hand numbers and against SciPy."""

import numpy as np
import pytest
from scipy import stats

from rlformers.experiment.evaluation.episode_statistics import summarise, table
from rlformers.experiment.statistics.over_seeds import MIN_SEEDS, iqm, iqm_interval, over_seeds, spread_in_words
from rlformers.experiment.statistics.over_tasks import MIN_TASKS, clustered_mean_ci


@pytest.mark.parametrize(
    "values,expected",
    [([0, 1, 2, 99], 1.5), ([0, 1, 2, 3, 99], 2.0), (range(7, -1, -1), 3.5), ([0, 0, 4, 6, 50, 99, 99, 99], 39.75)]
    + [([1, 2, 9], 4.0), ([7], 7.0)],  # nothing is cut
)
def test_the_lowest_and_highest_quarter_are_cut(values, expected):
    assert iqm(np.array(values, float)) == pytest.approx(expected)
    assert iqm(np.array([list(values)] * 2, float), axis=1).tolist() == pytest.approx([expected] * 2)


def test_few_seeds_have_a_range_and_no_interval():
    result = over_seeds([1.0, None, 2.0, 3.0, 10.0, 4.0])
    assert result["per_seed"] == [1.0, None, 2.0, 3.0, 10.0, 4.0]
    assert (result["mean"], result["iqm"]) == pytest.approx((4.0, 3.0))
    assert (result["n"], result["ci95"], result["range"]) == (5, None, [1.0, 10.0])
    assert spread_in_words(result["per_seed"]) == "range of 5 seeds [1.000, 10.000]"
    assert over_seeds([5.0])["range"] is None and spread_in_words([5.0, None]) == ""
    nothing = {"per_seed": [None], "n": 0, "mean": None, "iqm": None, "ci95": None, "range": None}
    assert over_seeds([None]) == nothing


def test_the_interval_begins_with_eight_seeds_that_have_a_value():
    values = [float(value) for value in range(MIN_SEEDS)]
    assert over_seeds([*values[:-1], None])["ci95"] is None
    result = over_seeds([None, *values])
    low, high = result["ci95"]
    assert 0 < low < result["iqm"] == 3.5 < high < 7 and result["n"] == 8
    assert spread_in_words(values) == f"95 % interval [{low:.3f}, {high:.3f}] of 8 seeds"


def test_the_interval_of_an_iqm_is_the_quantiles_of_resampled_ones_at_every_point():
    values = np.random.default_rng(0).normal(size=(200, 3))
    low, high = iqm_interval(values)
    drawn = np.random.default_rng(1).integers(200, size=(4000, 200))
    expected = np.quantile(iqm(values[drawn], axis=1), [0.025, 0.975], axis=0)
    np.testing.assert_allclose([low, high], expected, atol=0.02)
    narrow = iqm_interval(values, level=0.5)
    np.testing.assert_allclose(narrow[1] - narrow[0], (high - low) * 0.6745 / 1.96, rtol=0.15)


def test_the_interval_of_a_mean_is_students():
    values = np.random.default_rng(0).normal(size=30)
    for level in (0.5, 0.95):
        expected = stats.ttest_1samp(values, 0.0).confidence_interval(level)
        assert clustered_mean_ci(values, np.arange(30)[:, None], level) == pytest.approx(tuple(expected))


def test_clusters_count_whole_and_weigh_as_many_trials_as_they_have():
    clusters = np.repeat(np.arange(20), np.where(np.arange(20) < 10, 1, 9))[:, None]
    values = (clusters[:, 0] >= 10).astype(float) + 0.01 * np.arange(len(clusters)) % 1e-3
    low, high = clustered_mean_ci(values, clusters)
    assert (low + high) / 2 == pytest.approx(values.mean()) and values.mean() == pytest.approx(0.9, abs=0.01)
    # The sums are 0 and 9, their sizes 1 and 9: 0.9 too little and 0.9 too much.
    half = stats.t.ppf(0.975, 19) * np.sqrt(20 * 0.9**2 * 20 / 19) / 100
    assert high - low == pytest.approx(2 * half, rel=0.01)
    alone = clustered_mean_ci(values, np.arange(len(values))[:, None])
    assert high - low > 1.2 * (alone[1] - alone[0])


def test_few_tasks_have_no_interval():
    values = np.random.default_rng(0).normal(size=100)
    assert clustered_mean_ci(values, np.arange(100)[:, None] % MIN_TASKS) is not None
    assert clustered_mean_ci(values, np.arange(100)[:, None] % (MIN_TASKS - 1)) is None


def evaluated(num_seeds, num_tasks=30, trials=50):
    """Trials of a few tasks, the same for all seeds, that differ more than trials of one do."""
    rng = np.random.default_rng(0)
    tasks = np.broadcast_to(np.repeat(np.arange(num_tasks), trials), (num_seeds, num_tasks * trials))
    returns = rng.normal(size=num_tasks)[tasks] + rng.normal(scale=0.1, size=tasks.shape)
    return {"return": returns, "length": np.ones(tasks.shape), "task": tasks[..., None]}


def test_the_interval_over_tasks_of_all_seeds_takes_tasks_for_independent_not_trials():
    values = evaluated(2)
    low, high = summarise(values)["return"]["task_ci95"]
    means = values["return"].reshape(2, 30, 50).mean((0, 2))
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 29) * means.std(ddof=1) / np.sqrt(30), rel=0.01)


@pytest.mark.parametrize("num_seeds,words", [(1, None), (3, "range of 3 seeds ["), (8, "95 % interval [")])
def test_the_table_of_an_evaluation_names_what_it_shows(num_seeds, words):
    results = summarise(evaluated(num_seeds))
    shown = table(
        {"results": results, "greedy": True, "env": "e", "core": "c", "checkpoint": {"step": 1}}
        | {"episodes_per_seed": 1500, "seeds": list(range(num_seeds))}
    )
    last = shown.splitlines()[-1]
    assert last.split()[0] == ("all" if words else "0") and (words or "[") in last
    assert ("range of" in shown) == (num_seeds == 3)
