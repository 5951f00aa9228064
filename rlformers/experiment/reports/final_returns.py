"""Tables of results: cores by environments, what is known about the environments, and the state of every run."""

import shlex
from collections.abc import Sequence
from typing import Any

from rlformers.experiment.reports.groups import Group, missing
from rlformers.experiment.reports.reproduce import commands, mixtures
from rlformers.experiment.reports.table_formats import INTERVAL, RANGE, Column, Table, ends
from rlformers.experiment.statistics.over_seeds import MIN_SEEDS, over_seeds

RESULTS = (
    Column("environment", ("env",)),
    Column("core", ("core",)),
    Column("return (IQM)", ("iqm",), ".3f"),
    RANGE,
    INTERVAL,
    Column("normalised", ("iqm_normalised",), ".3f"),
    Column("seeds", ("seeds",), "d"),
    Column("steps", ("total_steps",), ",d"),
    Column("steps/s", ("steps_per_second",), ",.0f"),
    Column("compile\u00a0s", ("compile_seconds",), ".1f"),
    Column("parameters", ("num_parameters",), ",.0f"),
    Column("state", ("state_size",), ",.0f"),
    Column("status", ("status",)),
)
RESULTS_NOTE = (
    "Return: of the episodes that ended in the last 10 % of the steps; interquartile mean (IQM) "
    "over seeds. The range runs from the lowest to the highest seed; it is no confidence "
    f"interval. A 95 % bootstrap interval of the IQM is shown from {MIN_SEEDS} seeds on; with "
    "fewer it would not cover what it says. Normalised: 0 is the return of random actions, 1 the "
    "ceiling, where both are known. Steps are per seed, steps/s and compile seconds the median "
    "over runs, of all seeds of a run together. State: numbers that the memory of one "
    "environment holds. Unfinished runs do not count in the return."
)


def results_table(groups: Sequence[Group]) -> Table:
    """`table.csv`: a line per environment and core, those without a run included."""
    note = " ".join([RESULTS_NOTE, *mixtures(groups)])
    rows = [results_row(g) for g in groups]
    rows += [dict.fromkeys(rows[0]) | {"env": e, "core": c, "seeds": 0, "status": "no run"} for e, c in missing(groups)]
    return Table("table", RESULTS, sorted(rows, key=lambda row: (row["env"], row["core"])), note, True)


def results_row(g: Group) -> dict[str, Any]:
    """A line of the table; None where there is no number."""
    values = g.final_returns
    told = [run for run in g.runs if run.status != "finished"]
    seeds = over_seeds(values)
    middle = seeds["iqm"]
    has_scale = g.scores is not None and g.scores.span is not None and middle is not None
    return {
        "env": g.env,
        "core": g.label,
        "iqm": middle,
        **ends(seeds["range"], "range"),
        **ends(seeds["ci95"]),
        "iqm_normalised": g.scores.normalise(middle) if has_scale else None,  # type: ignore[union-attr,arg-type]
        "seeds": len(values) if values else g.seeds,
        "total_steps": max(run.steps for run in g.runs),
        "steps_per_second": g.median("steps_per_second"),
        "compile_seconds": g.median("compile_seconds"),
        "num_parameters": g.median("num_parameters"),
        "state_size": g.median("state_size"),
        "status": "; ".join(f"{run.status} ({run.config['seeds']} seeds)" for run in told) or "finished",
    }


REFERENCES = (
    Column("environment", ("env",)),
    Column("reference", ("reference",)),
    Column("return", ("return",), ".3f"),
    Column("source", ("source",)),
)
SOURCES = {
    "random": "uniformly random actions, exact or over 1,000 episodes",
    "memoryless": "the best policy that sees the last observation only",
    "ceiling": "the best policy that is known, or a bound",
}


def references_table(groups: Sequence[Group]) -> Table | None:
    """`references.csv`: what returns can be measured against; None if nothing is known anywhere."""
    rows: list[dict[str, Any]] = []
    for g in {g.env: g for g in groups}.values():
        if g.scores is None:
            continue
        for what, source in SOURCES.items():
            value = getattr(g.scores, what)
            if value is not None:
                name = f"{what}: {g.scores.ceiling_of}" if what == "ceiling" else what
                rows.append({"env": g.env, "reference": name, "return": value, "source": source})
        reported = [(score.who, score.value, score.source) for score in g.scores.played]
        reported += [(score.who, score.value, score.source) for score in g.scores.published]
        rows += [{"env": g.env, "reference": who, "return": value, "source": of} for who, value, of in reported]
    return Table("references", REFERENCES, rows, grouped=True) if rows else None


RUNS = (
    Column("environment", ("env",)),
    Column("core", ("core",)),
    Column("status", ("status",)),
    Column("done", ("progress",), ".0%"),
    Column("directory", ("run_dir",)),
)


def runs_table(groups: Sequence[Group]) -> Table:
    """`runs.csv`: every run, and how to make it again."""
    pairs = [(g, run) for g in groups for run in g.runs]
    words = commands([run for _, run in pairs])
    rows = [
        {
            "env": g.env,
            "core": g.label,
            "status": run.status,
            "progress": run.progress,
            "run_dir": str(run.path),
            "first_seed": run.config["seed"],
            "seeds": run.config["seeds"],
            "steps": run.steps,
            "git_commit": (run.summary or {}).get("git_commit"),
            "devices": ", ".join((run.summary or {}).get("devices", [])) or None,
            "command": shlex.join(command),
        }
        for (g, run), command in zip(pairs, words, strict=True)
    ]
    empty = dict.fromkeys(rows[0])
    rows += [empty | {"env": env, "core": core, "status": "no run", "progress": 0.0} for env, core in missing(groups)]
    return Table("runs", RUNS, rows, grouped=True)
