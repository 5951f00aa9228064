"""The windows of training by which a run without evaluations chooses its best checkpoint."""

import json

import numpy as np
import pytest

from rlformers.config import ExperimentConfig
from rlformers.experiment.training.return_windows import ReturnWindows

BATCH = ExperimentConfig().batch_size


def config(updates: int) -> ExperimentConfig:
    return ExperimentConfig(total_steps=float(updates * BATCH))


def scores(windows: ReturnWindows, updates: int, first: int = 1) -> dict[int, float]:
    """Of every update with one; in update u, u episodes of each of 2 seeds end, with returns of u and -1."""
    found = {}
    for update in range(first, updates + 1):
        total = np.array([update * update, -update], np.float32)
        windows.add(update, {"episode/return": total, "episode/count": np.array([update, update])})
        if (score := windows.score(update)) is not None:
            found[update] = score
    return found


@pytest.mark.parametrize(
    "updates,ends", [(1, [1]), (7, list(range(1, 8))), (45, list(range(3, 46, 3))), (59, [5, *range(8, 60, 3)])]
)
def test_windows_have_a_length_that_the_run_decides_and_end_with_it(updates, ends):
    windows = ReturnWindows(config(updates))
    assert list(scores(windows, updates)) == ends
    expected = [next((end for end in ends if end > done), updates) for done in range(updates + 1)]
    assert [windows.next_end(done) for done in range(updates + 1)] == expected


def test_a_score_is_the_mean_over_episodes_of_all_seeds():
    found = scores(ReturnWindows(config(40)), 40)
    for end in range(2, 41, 2):
        u = np.array([end - 1, end])
        assert found[end] == pytest.approx((u * u - u).sum() / (2 * u).sum())
    windows = ReturnWindows(config(40))
    for update in range(1, 3):
        windows.add(update, {"episode/return": np.zeros(2), "episode/count": np.zeros(2, int)})
    assert windows.score(2) is None


@pytest.mark.parametrize("stopped", range(0, 61, 7))
def test_a_resumed_run_has_the_same_scores(stopped):
    whole = scores(ReturnWindows(config(61)), 61)
    windows = ReturnWindows(config(61))
    before = scores(windows, stopped)
    resumed = ReturnWindows(config(61), json.loads(json.dumps(windows.to_json())))
    assert before | scores(resumed, 61, stopped + 1) == whole
