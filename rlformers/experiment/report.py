"""Comparison of runs: learning curves and a table of cores by environments, from the files in run directories."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlformers.compose import load, to_dict
from rlformers.experiment.statistics import bootstrap_ci, iqm

BINS = 50  # points of a curve: a point is the mean over 2 % of the steps
# Keys that do not change what is learned, so that runs that differ in them only are pooled.
NEUTRAL = ("seed", "seeds", "run_dir", "log_every", "chunk_seconds", "debug", "wandb", "eval", "checkpoint")
# Nodes that, with the id, say which environment it is.
ENV_NODES = ("env_params", "env_kwargs", "wrap")


class Run(NamedTuple):
    """What a run directory says."""

    path: Path
    config: dict[str, Any]  # flat: {"ppo.lr": 1e-3, ...}
    curves: dict[int, np.ndarray]  # of each seed: rows (step, mean return of the episodes since the row before)
    summary: dict[str, Any] | None  # None: it was killed, or still runs

    @property
    def finished(self) -> bool:
        """It reached its last step."""
        return self.summary is not None and self.summary.get("completed", True)

    @property
    def steps(self) -> int:
        """Environment steps of each seed so far."""
        return int(max((curve[-1, 0] for curve in self.curves.values() if len(curve)), default=0))


class Group(NamedTuple):
    """The runs of one line of the table: they differ in their seeds only."""

    env: str
    label: str
    runs: list[Run]

    @property
    def final_returns(self) -> list[float]:
        """Of the seeds of finished runs in which an episode ended; a seed that ran twice counts once."""
        by_seed: dict[int, float | None] = {}
        for run in self.runs:
            if run.finished and run.summary is not None:
                by_seed |= dict(zip(run.summary["seeds"], run.summary["final_return"]["per_seed"], strict=True))
        return [value for value in by_seed.values() if value is not None]

    @property
    def seeds(self) -> int:
        """Different seeds in its runs."""
        return len({seed for run in self.runs for seed in run.curves})

    def median(self, key: str) -> float | None:
        """Median over its runs of a number in their summaries."""
        values = [run.summary[key] for run in self.runs if run.summary and run.summary.get(key) is not None]
        return float(np.median(values)) if values else None


def report(run_dirs: Sequence[Path | str], out: Path | str) -> list[Path]:
    """Write `learning_curves.png`, `.pdf`, `table.md` and `table.csv` about runs; return the paths.

    Where runs were evaluated in trials of several attempts, also `adaptation_curves.png`, `.pdf` and `adaptation.csv`.

    Args:
        run_dirs: Run directories, or directories that contain some at any depth.
        out: Directory for the files; made if missing.

    Raises:
        ValueError: A directory without runs, an unreadable file of a run, or `out` cannot be written; one line.
    """
    from rlformers.experiment.adaptation import adaptation_curves, csv_rows
    from rlformers.experiment.plots import plot_adaptation, plot_learning

    groups = group([read(path) for path in find(run_dirs)])
    curves = adaptation_curves(groups)
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        rows = [table_row(g) for g in groups]
        (out / "table.md").write_text(markdown(rows))
        paths = [*plot_learning(groups, out), out / "table.md", write_csv(out / "table.csv", rows)]
        if curves:
            paths += [*plot_adaptation(curves, out), write_csv(out / "adaptation.csv", csv_rows(curves))]
    except OSError as error:
        raise ValueError(f"--out: cannot write {error.filename or out}: {error.strerror}") from error
    return paths


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write a table, None as nothing."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def find(run_dirs: Sequence[Path | str]) -> list[Path]:
    """The run directories among and below some directories, each once, oldest first.

    Raises:
        ValueError: None given, or one that has none.
    """
    if not run_dirs:
        raise ValueError("report: need at least one run directory")
    found: dict[Path, None] = {}
    for given in map(Path, run_dirs):
        inside = sorted(path.parent for path in given.rglob("metrics.jsonl") if (path.parent / "config.yaml").exists())
        if not inside:
            raise ValueError(f"report: {given} contains no run (a directory with config.yaml and metrics.jsonl)")
        found |= dict.fromkeys(path.resolve() for path in inside)
    return sorted(found, key=lambda path: (path / "config.yaml").stat().st_mtime)


def read(path: Path) -> Run:
    """Read a run directory.

    Raises:
        ValueError: A file of it does not hold what it should.
    """
    config = load(path / "config.yaml")
    curves: dict[int, list[tuple[float, float]]] = {}
    lines = (path / "metrics.jsonl").read_text().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            value = row["episode/return"]
            curves.setdefault(row["seed"], []).append((row["step"], np.nan if value is None else value))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            if number == len(lines):  # torn by a kill
                break
            raise ValueError(f"{path / 'metrics.jsonl'}: line {number} is no row of metrics") from error
    try:
        summary = json.loads((path / "summary.json").read_text())
    except FileNotFoundError:
        summary = None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path / 'summary.json'}: no JSON ({error})") from error
    arrays = {seed: np.array(curve, float) for seed, curve in curves.items()}
    return Run(path, flatten(to_dict(config)), arrays, summary)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def group(runs: list[Run]) -> list[Group]:
    """Pool runs that differ in their seeds only; what else differs between runs of a core stands in the label."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        env = run.config["env"]
        same_env = [other for other in runs if other.config["env"] == env]
        env_keys = [key for key in varying(same_env) if key.split(".")[0] in ENV_NODES]
        panel = " ".join([env, *(f"{key.split('.')[1]}={run.config.get(key)}" for key in env_keys)])
        same_core = [other for other in same_env if other.config["core.name"] == run.config["core.name"]]
        keys = [key for key in varying(same_core) if key not in env_keys]
        label = " ".join([run.config["core.name"], *(f"{key}={_short(run.config.get(key))}" for key in keys)])
        groups.setdefault((panel, label), []).append(run)
    return [Group(env, label, members) for (env, label), members in sorted(groups.items(), key=lambda item: item[0])]


def varying(runs: list[Run]) -> list[str]:
    """Keys in which the configs of some runs differ, neutral ones left out."""
    keys = {key: None for run in runs for key in run.config if key.split(".")[0] not in NEUTRAL}
    return [key for key in keys if len({str(run.config.get(key)) for run in runs}) > 1]


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def curve(g: Group) -> tuple[np.ndarray, np.ndarray]:
    """Steps [K] and returns [S, K] of a group: means over K bins of steps, so that runs of any log rate can be pooled.

    A seed that ran twice counts once: a finished run before others, then the later one.
    A bin in which no episode of a seed ended is interpolated between its neighbours, and nan before the first.
    """
    by_seed = {seed: c for run in sorted(g.runs, key=lambda run: run.finished) for seed, c in run.curves.items()}
    series = [c for c in by_seed.values() if np.isfinite(c[:, 1]).any()]
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


def table_row(g: Group) -> dict[str, Any]:
    """A line of the table; None where there is no number."""
    values = g.final_returns
    low, high = bootstrap_ci(values) if len(values) > 1 else (None, None)
    unfinished = [run for run in g.runs if not run.finished]
    return {
        "env": g.env,
        "core": g.label,
        "iqm": iqm(values) if values else None,
        "ci95_low": low,
        "ci95_high": high,
        "seeds": len(values) if values else g.seeds,
        "total_steps": max(run.steps for run in g.runs),
        "steps_per_second": g.median("steps_per_second"),
        "compile_seconds": g.median("compile_seconds"),
        "num_parameters": g.median("num_parameters"),
        "status": "finished"
        if not unfinished
        else "; ".join(
            f"unfinished at {run.steps / max(run.config['total_steps'], 1):.0%}" + f" ({len(run.curves)} seeds)"
            for run in unfinished
        ),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table for people."""

    def number(value: float | int | None, spec: str) -> str:
        return "–" if value is None else format(value, spec)

    lines = [
        "| environment | core | return (IQM) | 95 % CI | seeds | steps | steps/s | compile s | parameters | status |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        low, high = row["ci95_low"], row["ci95_high"]
        cells = [
            row["env"],
            row["core"],
            number(row["iqm"], ".3f"),
            "–" if low is None else f"[{low:.3f}, {high:.3f}]",
            str(row["seeds"]),
            number(row["total_steps"], ","),
            number(row["steps_per_second"], ",.0f"),
            number(row["compile_seconds"], ".1f"),
            number(row["num_parameters"], ",.0f"),
            row["status"],
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    note = (
        "Return: of the episodes that ended in the last 10 % of the steps; interquartile mean over seeds, with a "
        "percentile bootstrap interval (one seed has none). Steps are per seed, steps/s and compile seconds the median "
        "over runs, of all seeds of a run together. Unfinished runs do not count in the return."
    )
    return "\n".join([*lines, "", note, ""])
