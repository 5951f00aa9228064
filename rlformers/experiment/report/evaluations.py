"""What `rlformers evaluate` wrote into run directories."""

import json
from collections.abc import Sequence
from typing import Any

from rlformers.experiment.report.groups import Group
from rlformers.experiment.report.runs import Run
from rlformers.experiment.report.tables import Column, Table, ends

# What makes trials longer, which is what a curve shows, not another environment.
LENGTH = ("episodes", "steps")


def evaluations(run: Run) -> list[dict[str, Any]]:
    """The evaluations that a run directory has.

    Raises:
        ValueError: A file that is no evaluation; one line that names it.
    """
    found = []
    for path in sorted((run.path / "evaluations").glob("*.json")):
        try:
            evaluation = json.loads(path.read_text())
            if {"env", "results", "episodes"} <= set(evaluation):
                found.append(evaluation | {"name": path.stem})
                continue
        except (json.JSONDecodeError, TypeError):
            pass
        raise ValueError(f"{path}: no evaluation of `rlformers evaluate`")
    return found


def panel_of(evaluation: dict[str, Any], run: Run) -> str:
    """Name of the environment of an evaluation, with what differs from training."""
    words = [evaluation["env"]]
    for node in ("env_kwargs", "env_params", "wrap"):
        for key, value in evaluation[node].items():
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
    Column("95 % CI over tasks", ("task_ci95_low", "task_ci95_high"), ".3f"),
    Column("IQM of seeds", ("iqm",), ".3f"),
    Column("95 % CI over seeds", ("ci95_low", "ci95_high"), ".3f"),
)
NOTE = (
    "Split: of the tasks, where it was asked for. Attempts: of a trial, where episodes are trials. The interval over "
    "tasks is one of the mean of all episodes, that over seeds one of the IQM of the seeds' means."
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
        **ends(returns["ci95"]),
    }
