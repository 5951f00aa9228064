"""Adaptation curves: returns of the first, second, ... attempt of evaluated trials."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rlformers.experiment.evaluation.episode_statistics import summarise
from rlformers.experiment.reports.evaluation_files import evaluations, panel_of
from rlformers.experiment.reports.groups import Group


class Curve(NamedTuple):
    """One line: returns of K attempts of the agents of a group."""

    panel: str  # environment of the evaluation
    label: str  # of the group
    mean: np.ndarray  # [K], nan where there is none
    low: np.ndarray  # 95 % interval over tasks; nan with fewer than `over_tasks.MIN_TASKS`
    high: np.ndarray
    horizon: int  # attempts of a trial in training
    num_trials: int  # of each seed
    seeds: int
    step: int  # of the checkpoint
    trained_on: str


def adaptation_curves(groups: Sequence[Group]) -> list[Curve]:
    """A curve for every group and environment that its runs were evaluated on (`rlformers evaluate`).

    Of several evaluations of a run on one environment the one of the latest checkpoint counts, of
    these the one with most attempts, of these the one with most trials.
    """
    found: dict[tuple[str, str], list[Curve]] = {}
    for g in groups:
        best: dict[str, dict[str, dict[str, Any]]] = {}  # panel, run
        for run in g.runs:
            for evaluation in evaluations(run):
                if "attempt_return" not in evaluation["episodes"]:
                    continue
                runs = best.setdefault(panel_of(evaluation, run), {})
                runs[str(run.path)] = max(runs.get(str(run.path), evaluation), evaluation, key=_rank)
        for panel, by_run in best.items():
            found.setdefault((panel, g.label), []).append(_curve(panel, g, list(by_run.values())))
    return [
        # Agents that were trained on different environments can meet in one.
        curve._replace(label=f"{label}, trained on {curve.trained_on}") if len(curves) > 1 else curve
        for (_, label), curves in sorted(found.items(), key=lambda item: item[0])
        for curve in curves
    ]


def _rank(evaluation: dict[str, Any]) -> tuple[int, int, int]:
    attempts = len(evaluation["results"]["attempt_return"]["entries"])
    return evaluation["checkpoint"]["step"], attempts, evaluation["episodes_per_seed"]


def _curve(panel: str, g: Group, evaluations: list[dict[str, Any]]) -> Curve:
    """A group's evaluations on one environment as one curve, over as many trials and attempts as all of them have."""
    episodes = [evaluation["episodes"] for evaluation in evaluations]
    trials = min(len(values["attempt_return"][0]) for values in episodes)
    attempts = min(len(values["attempt_return"][0][0]) for values in episodes)
    pooled = {
        name: np.concatenate([np.array(values[name])[:, :trials, :attempts] for values in episodes])
        for name in ("attempt_return", "attempt_count")
    }
    pooled["task"] = np.concatenate([np.array(values["task"])[:, :trials] for values in episodes])
    entries = summarise(pooled)["attempt_return"]["entries"]
    mean = np.array([np.nan if entry["mean"] is None else entry["mean"] for entry in entries])
    low, high = np.array([entry["task_ci95"] or (np.nan, np.nan) for entry in entries]).T
    horizons = [
        len(run.summary["final_attempts"][0]) for run in g.runs if run.summary and "final_attempts" in run.summary
    ]
    step = min(evaluation["checkpoint"]["step"] for evaluation in evaluations)
    seeds = len(pooled["attempt_return"])
    return Curve(panel, g.label, mean, low, high, min(horizons, default=attempts), trials, seeds, step, g.env)


def csv_rows(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """A row per attempt of every curve."""
    return [
        {
            "env": curve.panel,
            "core": curve.label,
            "attempt": attempt,
            "return": mean,
            "task_ci95_low": None if np.isnan(low) else low,
            "task_ci95_high": None if np.isnan(high) else high,
            "beyond_training": attempt > curve.horizon,
            "trials_per_seed": curve.num_trials,
            "seeds": curve.seeds,
            "step": curve.step,
        }
        for curve in curves
        for attempt, (mean, low, high) in enumerate(zip(curve.mean, curve.low, curve.high, strict=True), start=1)
    ]
