"""Learning curves of what `eval.*` measured while training, maybe in another environment."""

from collections.abc import Sequence

import numpy as np

from rlformers.experiment.reports.groups import ENV_NODES, Group, by_seed
from rlformers.experiment.reports.learning_curves import MeanCurve, mean_curve
from rlformers.experiment.reports.runs import Run


def evaluated_groups(groups: Sequence[Group]) -> list[Group]:
    """The groups with what their evaluations say in place of episodes of training, those alike together."""
    found: dict[tuple[str, str], list[Run]] = {}
    for g in groups:
        for run in g.runs:
            if run.evaluated:
                changes = {
                    key.removeprefix("eval."): value
                    for key, value in run.config.items()
                    if key.startswith(tuple(f"eval.{node}." for node in ENV_NODES))
                }
                words = [f"{key.partition('.')[2]}={value}" for key, value in changes.items()]
                words += ["greedy"] * run.config["eval.greedy"]
                panel = f"{g.env}, evaluated with {' '.join(words)}" if words else f"{g.env}, evaluated"
                changed = run._replace(config=run.config | changes, curves=run.evaluated)
                found.setdefault((panel, g.label), []).append(changed)
    return [Group(panel, label, runs) for (panel, label), runs in found.items()]


def evaluation_curve(g: Group) -> MeanCurve:
    """The interquartile mean over seeds at the steps at which all of them were evaluated."""
    seeds = [curve[np.isfinite(curve[:, 1])] for curve in by_seed(g).values()]
    steps = sorted(set.intersection(*(set(curve[:, 0]) for curve in seeds)))
    returns = [dict(curve.tolist()) for curve in seeds]
    return mean_curve(np.array(steps), np.array([[seed[step] for step in steps] for seed in returns]))
