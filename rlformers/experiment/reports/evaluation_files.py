"""What `rlformers evaluate` wrote into run directories."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlformers.config.compose import flatten
from rlformers.experiment.reports.groups import Group
from rlformers.experiment.reports.runs import Run
from rlformers.experiment.reports.table_formats import INTERVAL, RANGE, Column, Table, ends
from rlformers.experiment.statistics.over_seeds import MIN_SEEDS
from rlformers.experiment.statistics.over_tasks import MIN_TASKS

# What makes trials longer, which is what a curve shows, not another environment.
LENGTH = ("episodes", "steps")


KEYS = {"env", "env_kwargs", "env_params", "wrap", "greedy", "checkpoint", "episodes_per_seed", "results", "episodes"}


def evaluations(run: Run) -> list[dict[str, Any]]:
    """The evaluations that a run directory has."""
    read = {path: _read(path) for path in _files(run)}
    return [evaluation | {"name": path.stem} for path, evaluation in read.items() if evaluation is not None]


def unreadable(run: Run) -> list[str]:
    """The files among its evaluations that are none."""
    return [path.name for path in _files(run) if _read(path) is None]


def _files(run: Run) -> list[Path]:
    return sorted((run.path / "evaluations").glob("*.json"))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        evaluation = json.loads(path.read_text())
        return evaluation if set(evaluation) >= KEYS else None
    except (OSError, ValueError, TypeError):
        return None


def panel_of(evaluation: dict[str, Any], run: Run) -> str:
    """Name of the environment of an evaluation, with what differs from training."""
    words = [evaluation["env"]]
    for node in ("env_kwargs", "env_params", "wrap", "trial"):
        for key, value in flatten(evaluation.get(node, {})).items():
            if key not in LENGTH and value != run.config.get(f"{node}.{key}"):
                words.append(f"{key}={value}")
    return " ".join(words + ["greedy"] * evaluation["greedy"])


COLUMNS = (
    Column("environment", ("env",)),
    Column("core", ("core",)),
    Column("run", ("run",)),
    Column("actions", ("actions",)),
    Column("split", ("split",)),
    Column("attempts", ("attempts",), "d"),
    Column("after steps", ("step",), ",d"),
    Column("seeds", ("seeds",), "d"),
    Column("episodes per seed", ("episodes_per_seed",), ",d"),
    Column("return (mean)", ("mean",), ".3f"),
    Column("95 % interval over tasks", ("task_ci95_low", "task_ci95_high"), ".3f"),
    Column("IQM of seeds", ("iqm",), ".3f"),
    RANGE,
    INTERVAL,
)
NOTE = (
    "Split: of the tasks, where it was asked for. Attempts: of a trial, where episodes are "
    f"trials. The interval over tasks is of the mean of all episodes and needs {MIN_TASKS} tasks. "
    "The range of seeds runs from the lowest to the highest mean of a seed; it is no confidence "
    f"interval. From {MIN_SEEDS} seeds on there is one, of the IQM of these means."
)


def evaluations_table(groups: Sequence[Group]) -> Table | None:
    """`evaluations.csv`: a line per evaluation; None if there is none."""
    rows = [
        _row(g, run, evaluation)
        for g in groups
        for run in g.runs
        for evaluation in evaluations(run)
        if "return" in evaluation["results"]
    ]
    return (
        Table("evaluations", COLUMNS, sorted(rows, key=lambda row: (row["env"], row["core"])), NOTE, True)
        if rows
        else None
    )


def _row(g: Group, run: Run, evaluation: dict[str, Any]) -> dict[str, Any]:
    returns = evaluation["results"]["return"]
    attempts = evaluation["results"].get("attempt_return", {}).get("entries")
    return {
        "env": panel_of(evaluation, run).removesuffix(" greedy"),
        "core": g.label,
        "trained_on": g.env,
        "run": run.path.name,
        "name": evaluation["name"],
        "actions": "greedy" if evaluation["greedy"] else "sampled",
        "split": evaluation["env_kwargs"].get("split"),
        "attempts": len(attempts) if attempts else None,
        "step": evaluation["checkpoint"]["step"],
        "seeds": len(returns["per_seed"]),
        "episodes_per_seed": evaluation["episodes_per_seed"],
        "mean": returns["mean"],
        **ends(returns["task_ci95"], "task_ci95"),
        "iqm": returns["iqm"],
        **ends(returns.get("range"), "range"),
        **ends(returns["ci95"] if len(returns["per_seed"]) >= MIN_SEEDS else None),
    }
