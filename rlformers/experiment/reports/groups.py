"""Which runs belong together: those that differ in their seeds only."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rlformers.config.compose import flatten
from rlformers.config.schema import RUN_KEYS, TrialConfig, WrapConfig
from rlformers.envs.scores import Scores, known_scores
from rlformers.experiment.reports.runs import Run

BINS = 50  # points of a curve: a point is the mean over 2 % of the steps
# Keys that do not change what is learned, so that runs that differ in them only are pooled.
# A run that stops at a return has that return because it was asked for.
NEUTRAL = (*(key for key in RUN_KEYS if key != "stop"), "seed", "seeds", "log_every", "eval")
# Nodes that, with the id, say which environment it is.
ENV_NODES = ("env_params", "env_kwargs", "wrap", "trial")


@dataclass(frozen=True)
class Group:
    """The runs of one line of the table."""

    env: str  # with what sets it apart from others of its id
    label: str  # the core, with what sets its runs apart from others of it
    runs: list[Run]

    @property
    def final_by_seed(self) -> dict[int, float]:
        """Final returns of the seeds of finished runs in which an episode ended; a seed that ran twice counts once."""
        by_seed: dict[int, float | None] = {}
        for run in self.runs:
            if run.finished and run.summary is not None:
                by_seed |= dict(zip(run.summary["seeds"], run.summary["final_return"]["per_seed"], strict=True))
        return {seed: value for seed, value in by_seed.items() if value is not None}

    @property
    def final_returns(self) -> list[float]:
        """The values of `final_by_seed`."""
        return list(self.final_by_seed.values())

    @property
    def seeds(self) -> int:
        """Different seeds in its runs."""
        return len({seed for run in self.runs for seed in run.curves})

    @cached_property
    def scores(self) -> Scores | None:
        """What is known about returns of its environment, in the configuration of its runs."""
        config = self.runs[0].config
        nodes = {
            node: {k.partition(".")[2]: value for k, value in config.items() if k.startswith(node + ".")}
            for node in ENV_NODES
        }
        around = _wrapped(nodes["wrap"], nodes["trial"])
        return known_scores(config["env"], nodes["env_kwargs"], nodes["env_params"], around)

    def median(self, key: str) -> float | None:
        """Median over its runs of a number in their summaries."""
        values = [run.summary[key] for run in self.runs if run.summary and run.summary.get(key) is not None]
        return float(np.median(values)) if values else None


def _wrapped(wrap: dict[str, Any], trial: dict[str, Any]) -> dict[str, Any]:
    """What is around an environment and may change its returns."""
    defaults = flatten(asdict(WrapConfig())) | asdict(TrialConfig())
    wrap = wrap | trial
    # What the learner makes of an end changes no return.
    return {key: value for key, value in wrap.items() if value != defaults.get(key) and key != "truncation"}


def group(runs: list[Run]) -> list[Group]:
    """Pool runs that differ in their seeds only; what else differs between runs of a core stands in the label."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for same_env in _alike(runs, "env"):
        env_keys = [key for key in varying(same_env) if key.split(".")[0] in ENV_NODES]
        for same_core in _alike(same_env, "core.name"):
            keys = [key for key in varying(same_core) if key not in env_keys]
            for run in same_core:
                told = (f"{key.split('.')[1]}={run.config.get(key)}" for key in env_keys)
                panel = " ".join([run.config["env"], *told])
                told = (f"{key}={_short(run.config.get(key))}" for key in keys)
                label = " ".join([run.config["core.name"], *told])
                groups.setdefault((panel, label), []).append(run)
    return [Group(env, label, members) for (env, label), members in sorted(groups.items(), key=lambda item: item[0])]


def _alike(runs: list[Run], key: str) -> list[list[Run]]:
    """The runs by their value of a key."""
    found: dict[Any, list[Run]] = {}
    for run in runs:
        found.setdefault(run.config[key], []).append(run)
    return list(found.values())


def missing(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Pairs of an environment and a label that have no run, although both occur."""
    known = {(g.env, g.label) for g in groups}
    envs, labels = (list(dict.fromkeys(values)) for values in zip(*known, strict=True))
    return sorted((env, label) for env in envs for label in labels if (env, label) not in known)


def varying(runs: list[Run]) -> list[str]:
    """Keys in which the configs of some runs differ, neutral ones left out."""
    keys = {key: None for run in runs for key in run.config if key.split(".")[0] not in NEUTRAL}
    return [key for key in keys if len({str(run.config.get(key)) for run in runs}) > 1]


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def by_seed(g: Group) -> dict[int, np.ndarray]:
    """The curves of its seeds. A seed that ran twice counts once: a finished run before others, then the later one."""
    return {seed: c for run in sorted(g.runs, key=lambda run: run.finished) for seed, c in run.curves.items()}


def curve(g: Group) -> tuple[np.ndarray, np.ndarray]:
    """Steps [K] and returns [S, K] of a group: means over K bins of steps, so that runs of any log rate can be pooled.

    A bin in which no episode of a seed ended is interpolated between its neighbours, and nan before
    the first.
    """
    series = [c for c in by_seed(g).values() if np.isfinite(c[:, 1]).any()]
    if not series:
        return np.zeros(0), np.zeros((0, 0))
    # Up to where all seeds are: a mean over fewer and fewer seeds would jump.
    end = min(c[-1, 0] for c in series)
    bins = max(1, min(BINS, min(int((c[:, 0] <= end).sum()) for c in series)))
    edges = np.linspace(0, end, bins + 1)
    rows = []
    for c in series:
        steps, returns = c[np.isfinite(c[:, 1]) & (c[:, 0] <= end)].T
        index = np.clip(np.searchsorted(edges, steps, side="left") - 1, 0, bins - 1)
        count = np.bincount(index, minlength=bins)
        total = np.bincount(index, returns, minlength=bins)
        known = count > 0
        if not known.any():  # its first episode ended after `end`
            rows.append(np.full(bins, np.nan))
            continue
        rows.append(np.interp(edges[1:], edges[1:][known], total[known] / count[known], left=np.nan))
    return edges[1:], np.array(rows)
