"""Cores compared over all environments of a report: aggregate, probability of improvement, performance profile."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rlformers.experiment.reports.groups import Group
from rlformers.experiment.reports.table_formats import INTERVAL, Column, Table, ends
from rlformers.experiment.statistics.across_tasks import aggregate, performance_profile, probability_of_improvement
from rlformers.experiment.statistics.over_seeds import MIN_SEEDS
from rlformers.experiment.statistics.permutation_test import p_value

THRESHOLDS = 201
MOST_PAIRED = 24  # cores, or settings of cores: more pairs than these take long, and nobody reads them


class Comparison(NamedTuple):
    """What there is to compare; None: nothing, and `absent` says why."""

    aggregate: Table | None
    improvement: Table | None
    profile: Table | None
    absent: dict[str, str]  # name of a table: reason


def compare(groups: Sequence[Group]) -> Comparison:
    """Compare the finished runs of all cores.

    Aggregate and profile need normalised returns, so that they are over the environments whose
    chance and ceiling are known, and over cores that have results in all of these. Probabilities
    need no scale: a pair of cores is compared on all environments in which both have results.
    """
    returns: dict[str, dict[str, np.ndarray]] = {g.label: {} for g in groups}
    scales = {g.env: g.scores for g in groups if g.scores is not None and g.scores.span is not None}
    for g in groups:
        if g.final_returns:
            returns[g.label][g.env] = np.array(g.final_returns)
    normalised = {
        label: [np.array([scales[env].normalise(x) for x in by_env[env]]) for env in scales]
        for label, by_env in returns.items()
        if set(scales) <= set(by_env)
    }
    without_scale = sorted({g.env for g in groups} - set(scales))
    scope = f"Over {_listed(list(scales))}; " + (
        f"without {_listed(without_scale)}, whose chance or ceiling is not known; " * bool(without_scale)
    )
    left_out = [label for label in returns if label not in normalised]
    if left_out:
        scope += f"left out, as without results in all of these: {_listed(left_out)}; "

    absent: dict[str, str] = {}
    if not scales:
        why = "No reference known: none of these environments, in these configurations, has a known chance and ceiling."
        absent |= {"aggregate": why, "performance_profile": why}
    elif not normalised:
        why = f"No core has results in all of {_listed(list(scales))}."
        absent |= {"aggregate": why, "performance_profile": why}
    elif len(scales) == 1:
        absent["aggregate"] = (
            f"An aggregate needs two environments with known chance and ceiling; here is {_listed(list(scales))} only."
        )
    too_many = len(returns) > MOST_PAIRED
    pairs = [] if too_many else _pairs(returns)
    if too_many:
        absent["probability_of_improvement"] = (
            f"Pairs are compared among {MOST_PAIRED} cores at most; here are {len(returns)}. Give report fewer runs."
        )
    elif not pairs:
        absent["probability_of_improvement"] = "There are no two cores with results in the same environment."
    return Comparison(
        None if "aggregate" in absent else _aggregate(normalised, scope),
        Table("probability_of_improvement", IMPROVEMENT, pairs, IMPROVEMENT_NOTE) if pairs else None,
        None if "performance_profile" in absent else _profile(normalised, scope),
        absent,
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names)


AGGREGATE = (
    Column("core", ("core",)),
    Column("normalised return (IQM)", ("iqm",), ".3f"),
    INTERVAL,
    Column("environments", ("environments",), "d"),
    Column("runs", ("runs",), "d"),
)


def _aggregate(normalised: dict[str, list[np.ndarray]], scope: str) -> Table:
    rows: list[dict[str, Any]] = []
    for label, samples in normalised.items():
        value, interval = aggregate(samples)
        row = {"core": label, "iqm": value, **ends(interval)}
        rows.append(row | {"environments": len(samples), "runs": sum(map(len, samples))})
    rows.sort(key=lambda row: -row["iqm"])
    note = (
        scope
        + "0 is chance, 1 the ceiling. Interquartile mean (IQM) over all seeds of all environments together. Its 95 % "
        "interval, a bootstrap within environments (Agarwal et al. 2021), is shown from "
        f"{MIN_SEEDS} seeds in each on."
    )
    return Table("aggregate", AGGREGATE, rows, note)


IMPROVEMENT = (
    Column("core X", ("core",)),
    Column("core Y", ("over",)),
    Column("P(X > Y)", ("probability",), ".3f"),
    Column("p", ("p_value",), ".4f"),
    Column("runs of X", ("runs",), "d"),
    Column("runs of Y", ("over_runs",), "d"),
    Column("environments", ("environments",), "d"),
)
IMPROVEMENT_NOTE = (
    "Chance that a run of X ends above a run of Y, ties half, averaged over the environments "
    "where both have results. p: how often a difference as large comes up by chance if X and Y "
    "are alike (two-sided permutation test of the runs within each environment; not corrected "
    "for the number of pairs). With few runs p cannot be small: in one environment it is at "
    "least 0.33, 0.10, 0.03 and 0.008 with 2, 3, 4 and 5 runs of both."
    " n in the figure: runs of X and of Y."
)


def _pairs(returns: dict[str, dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    """A row for every ordered pair of cores; that of the reverse is the complement."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for x, y in itertools.combinations(returns, 2):
        envs = [env for env in returns[x] if env in returns[y]]
        if envs:
            samples = {label: [returns[label][env] for env in envs] for label in (x, y)}
            runs = {label: sum(map(len, arrays)) for label, arrays in samples.items()}
            value, p = (test(samples[x], samples[y]) for test in (probability_of_improvement, p_value))
            for one, other, chance in ((x, y, value), (y, x, 1 - value)):
                row = {"core": one, "over": other, "probability": chance, "p_value": p}
                row |= {"runs": runs[one], "over_runs": runs[other]}
                found[one, other] = row | {"environments": len(envs)}
    return [found[pair] for pair in itertools.permutations(returns, 2) if pair in found]


PROFILE_NOTE = (
    "the higher a line, the better. Bands: 95 % interval of each share by itself, as of so many "
    "independent runs (Clopper and Pearson)."
)


def _profile(normalised: dict[str, list[np.ndarray]], scope: str) -> Table:
    scores = np.concatenate([np.concatenate(samples) for samples in normalised.values()])
    low, high = min(0.0, scores.min()), max(1.0, scores.max())
    margin = 0.02 * (high - low)
    taus = np.linspace(low - margin, high + margin, THRESHOLDS)
    rows = []
    for label, samples in normalised.items():
        shares, lows, highs = performance_profile(samples, taus)
        for tau, share, below, above in zip(taus, shares, lows, highs, strict=True):
            interval = (float(below), float(above))
            rows.append({"core": label, "threshold": float(tau), "share": float(share), **ends(interval)})
    columns = (
        Column("core", ("core",)),
        Column("threshold", ("threshold",), ".3f"),
        Column("share", ("share",), ".3f"),
    )
    return Table("performance_profile", columns, rows, scope + PROFILE_NOTE)
