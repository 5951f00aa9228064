"""The final return covers the last tenth of a run, also if the run was extended, or resumed at any update."""

import json

import numpy as np
import pytest

from rlformers.config import ExperimentConfig
from rlformers.experiment.training.episode_sums import EpisodeSums

BATCH = ExperimentConfig().batch_size


def config(updates: int) -> ExperimentConfig:
    return ExperimentConfig(total_steps=float(updates * BATCH))


def add(sums: EpisodeSums, first: int, last: int) -> None:
    """One episode an update and seed, whose return is the update's number; in trials of two attempts."""
    for update in range(first, last + 1):
        attempts = np.array([[update, 0.0], [update, 1.0]])
        metrics = {"return": attempts.sum(1), "length": np.array([8, 8]), "count": np.array([1, 1])}
        metrics |= {"attempt_return": attempts, "attempt_count": np.ones((2, 2))}
        sums.add(update, {f"episode/{name}": value for name, value in metrics.items()})


def resumed(sums: EpisodeSums, updates: int) -> EpisodeSums:
    """As from a checkpoint of these sums, with so many updates in all."""
    other = EpisodeSums(config(updates), 2)
    other.restore(json.loads(json.dumps(sums.to_json())))
    return other


def final(first: int, last: int) -> list[float]:
    mean = (first + last) / 2
    return [mean, mean + 1]


@pytest.mark.parametrize("more,expected", [(1, (901, 1001)), (50, (946, 1050)), (112, (1001, 1112))])
def test_of_an_extended_run_it_is_the_new_last_tenth(more, expected):
    sums = EpisodeSums(config(1000), 2)
    add(sums, 1, 1000)
    assert sums.final()["per_seed"] == final(901, 1000)
    sums = resumed(sums, 1000 + more)
    add(sums, 1001, 1000 + more)
    assert sums.final()["per_seed"] == final(*expected)
    assert sums.final_attempts() == [[final(*expected)[0], second] for second in (0, 1)]


@pytest.mark.parametrize("updates", [30, 4000])
def test_resuming_changes_nothing_and_a_checkpoint_stays_small(updates):
    whole, broken = EpisodeSums(config(updates), 2), EpisodeSums(config(updates), 2)
    last = 0
    for update in map(int, (*sorted(np.random.default_rng(0).choice(updates, 12, replace=False)), updates)):
        add(whole, last + 1, update)
        add(broken, last + 1, update)
        broken, last = resumed(broken, updates), update
    assert whole.to_json() == broken.to_json() and whole.final() == broken.final()
    assert whole.final()["per_seed"] == final(updates * 9 // 10 + 1, updates)
    assert len(whole.to_json()["final_parts"]) <= 100


@pytest.mark.parametrize("more", [0, 50])
def test_of_an_older_checkpoint_the_one_sum_counts_unless_the_run_is_extended(more):
    sums = EpisodeSums(config(1000), 2)
    add(sums, 1, 950)
    old = sums.to_json() | {"final_window": {"return": [50 * 925.5] * 2, "length": [400, 400], "count": [50, 50]}}
    del old["final_parts"]
    other = EpisodeSums(config(1000 + more), 2)
    other.restore(old)
    add(other, 951, 1000 + more)
    assert other.final()["per_seed"][0] == final(901 if more == 0 else 951, 1000 + more)[0]


def test_means_are_those_since_the_last_log_point():
    sums = EpisodeSums(ExperimentConfig(), 2)
    for update, count in ((1, 2.0), (2, 4.0)):
        ended = {"return": np.array([6.0, 0.0]), "length": np.array([40.0, 0.0]), "count": np.array([count, 0.0])}
        sums.add(update, {f"episode/{name}": value for name, value in ended.items()})
        first, second = sums.pop()
        assert first == {"episode/return": 6 / count, "episode/length": 40 / count, "episode/count": count}
        assert second == {"episode/return": None, "episode/length": None, "episode/count": 0}
