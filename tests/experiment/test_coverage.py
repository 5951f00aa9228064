"""Every interval that is printed holds the truth about as often as it says; what would not is a range, or not there.

Each case is simulated: so many experiments, of each its interval, and how many of these hold the true value.
"""

import numpy as np
import pytest

from rlformers.experiment.reports.learning_curves import LEARNING, has_band, legend_of, mean_curve
from rlformers.experiment.statistics.across_tasks import aggregate, performance_profile
from rlformers.experiment.statistics.over_seeds import iqm, iqm_interval, over_seeds, spread_in_words
from rlformers.experiment.statistics.over_tasks import clustered_mean_ci
from rlformers.experiment.statistics.permutation_test import p_value

SHAPES = {
    "normal": lambda rng, size: rng.normal(size=size),
    "exponential": lambda rng, size: rng.exponential(size=size),
    "lognormal": lambda rng, size: rng.lognormal(size=size),
    "two peaks": lambda rng, size: (rng.random(size) < 0.7) + 0.05 * rng.normal(size=size),
}


def coverage(intervals, truth):
    low, high = intervals
    return np.mean((low <= truth) & (truth <= high))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("num_seeds", [8, 16])
def test_over_seeds(num_seeds, shape):
    """The final return, the report's table, bands of learning curves, and the last line of an evaluation."""
    rng = np.random.default_rng(0)
    returns = SHAPES[shape](rng, (num_seeds, 2000))  # 2000 experiments are the points of a curve
    curve = mean_curve(np.arange(2000), returns)
    truth = iqm(SHAPES[shape](rng, 1_000_000))
    assert 0.91 <= coverage((curve.low, curve.high), truth) <= 0.97
    assert spread_in_words(list(returns[:, 0])).startswith("95 % interval [")


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_few_seeds_have_a_range_that_is_called_one(num_seeds):
    returns = np.random.default_rng(0).normal(size=(num_seeds, 20))
    one = list(returns[:, 0])
    assert iqm_interval(returns) is None and over_seeds(one)["ci95"] is None
    assert not has_band(mean_curve(np.arange(20), returns))
    assert spread_in_words(one) == f"range of {num_seeds} seeds [{min(one):.3f}, {max(one):.3f}]"
    assert aggregate(list(returns.T)).interval is None
    legend = legend_of(LEARNING, [mean_curve(np.arange(20), returns)])
    assert "single seeds" in legend and "95 % interval" not in legend


@pytest.mark.parametrize("num_tasks", [2, 3, 5, 8, 19])
def test_few_tasks_have_no_interval(num_tasks):
    assert clustered_mean_ci(np.arange(5.0 * num_tasks), np.arange(5 * num_tasks)[:, None] % num_tasks) is None


@pytest.mark.parametrize("trials", [1, 5])
@pytest.mark.parametrize(
    "shape,least", [("normal", 0.93), ("exponential", 0.89), ("lognormal", 0.83), ("two peaks", 0.92)]
)
@pytest.mark.parametrize("num_tasks", [20, 60])
def test_over_tasks(num_tasks, shape, least, trials):
    """What a seed's episodes say, and the episodes of all seeds together."""
    rng = np.random.default_rng(0)
    tasks = np.repeat(np.arange(num_tasks), trials)
    draws = SHAPES[shape](rng, (1500, num_tasks))[:, tasks] + 0.1 * rng.normal(size=(1500, len(tasks)))
    truth = SHAPES[shape](rng, 1_000_000).mean()
    intervals = np.transpose([clustered_mean_ci(values, tasks[:, None]) for values in draws])
    assert least <= coverage(intervals, truth) <= 0.97


@pytest.mark.parametrize("shape", ["normal", "lognormal", "two peaks"])
@pytest.mark.parametrize("num_tasks", [2, 5])
@pytest.mark.parametrize("num_seeds", [8])
def test_over_environments(num_seeds, num_tasks, shape):
    """The aggregate of the report."""
    rng = np.random.default_rng(0)
    levels = np.linspace(0, 2, num_tasks)[:, None]

    def scores(size):
        return levels + SHAPES[shape](rng, (num_tasks, size))

    truth = iqm(scores(300_000))
    intervals = np.transpose([aggregate(list(scores(num_seeds))).interval for _ in range(300)])
    assert 0.86 <= coverage(intervals, truth) <= 0.985


@pytest.mark.parametrize("num_tasks", [1, 5])
@pytest.mark.parametrize("num_seeds", [2, 3, 5, 8])
def test_performance_profiles(num_seeds, num_tasks):
    """The bands say 95 % at each threshold and hold at least that, with any number of runs."""
    rng = np.random.default_rng(0)
    levels = np.linspace(0, 2, num_tasks)[:, None]
    taus = np.linspace(-1, 3, 9)
    truth = (levels + rng.normal(size=(num_tasks, 200_000)) > taus[:, None, None]).mean((1, 2))
    found = [performance_profile(list(levels + rng.normal(size=(num_tasks, num_seeds))), taus) for _ in range(1000)]
    _, low, high = np.array(found).swapaxes(0, 1)
    held = ((low <= truth) & (truth <= high)).mean(axis=0)
    assert held.min() >= 0.94


@pytest.mark.parametrize("num_tasks", [1, 2])
@pytest.mark.parametrize("num_seeds", [2, 3, 5, 8])
def test_the_comparison_of_equal_methods_seldom_gives_a_false_alarm(num_seeds, num_tasks):
    """p < 0.05 comes up in 5 % of the comparisons at most, with equal returns too."""
    rng = np.random.default_rng(0)
    for draw in (SHAPES["lognormal"], lambda rng, size: rng.integers(3, size=size).astype(float)):
        drawn = draw(rng, (400, 2, num_tasks, num_seeds))
        p = np.array([p_value(list(x), list(y)) for x, y in drawn])
        assert np.mean(p < 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)
        assert (num_seeds, num_tasks) not in ((2, 1), (3, 1)) or p.min() >= 1 / 10


@pytest.mark.parametrize("num_seeds,least", [(5, 0.6), (8, 0.9)])
def test_the_comparison_notices_what_differs(num_seeds, least):
    rng = np.random.default_rng(0)
    p = [p_value([rng.normal(size=num_seeds) + 2], [rng.normal(size=num_seeds)]) for _ in range(200)]
    assert np.mean(np.array(p) < 0.05) >= least
