"""The report: from run directories to files."""

import time
from collections.abc import Sequence
from pathlib import Path

from rlformers.errors import UserError
from rlformers.experiment.reports.across_environments import Comparison, compare
from rlformers.experiment.reports.adaptation import adaptation_curves, csv_rows
from rlformers.experiment.reports.config_reader import ConfigReader
from rlformers.experiment.reports.evaluation_curves import evaluated_groups, evaluation_curve
from rlformers.experiment.reports.evaluation_files import evaluations_table, unreadable
from rlformers.experiment.reports.final_returns import references_table, results_table, runs_table
from rlformers.experiment.reports.groups import Group, group
from rlformers.experiment.reports.learning_curves import (
    EVALUATED,
    LEARNING,
    MeanCurve,
    adaptation_legend,
    learning_curve,
    learning_rows,
    legend_of,
    plot_adaptation,
    plot_learning,
)
from rlformers.experiment.reports.page import (
    Section,
    figure,
    folded,
    not_finished,
    page,
    paragraph,
    settings,
    unfinished,
)
from rlformers.experiment.reports.profile_plots import plot_aggregate, plot_improvement, plot_profile
from rlformers.experiment.reports.runs import find, read
from rlformers.experiment.reports.table_formats import Table, write_csv

TITLES = {
    "aggregate": "Over all environments",
    "probability_of_improvement": "Probability of improvement",
    "performance_profile": "Performance profile",
}


def report(run_dirs: Sequence[Path | str], out: Path | str) -> list[Path]:
    """Write `index.html`, `table.md`, figures (`.png`, `.pdf`) and the numbers in them (`.csv`); return the paths.

    What there is depends on the runs: adaptation curves where they were evaluated in trials of
    several attempts, an aggregate where two environments have known scales, and so on; the page
    says what is absent, and why.

    Args:
        run_dirs: Run directories, or directories that contain some at any depth.
        out: Directory for the files; made if missing.

    Raises:
        UserError: A directory without runs, a configuration that cannot be read, or `out` cannot be
            written.
    """
    configs = ConfigReader()
    groups = group([read(found, configs) for found in find(run_dirs, configs)])
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        return write(groups, out)
    except OSError as error:
        raise UserError(f"--out: cannot write {error.filename or out}: {error.strerror}") from error


def write(groups: Sequence[Group], out: Path) -> list[Path]:
    """Write the files of a report about groups of runs into a directory that exists."""
    labels = list(dict.fromkeys(g.label for g in groups))
    results, runs, references = results_table(groups), runs_table(groups), references_table(groups)
    evaluated, comparison = evaluations_table(groups), compare(groups)
    adaptations = adaptation_curves(groups)

    sections = [Section("results", "Results", results.html() + _numbers(results))]
    body, paths = _curves(groups, [learning_curve(g) for g in groups], labels, out / "learning_curves", LEARNING)
    if evaluated_while_training := evaluated_groups(groups):
        curves = [evaluation_curve(g) for g in evaluated_while_training]
        more, files = _curves(evaluated_while_training, curves, labels, out / "evaluation_curves", EVALUATED)
        body, paths = body + more, paths + files
    sections.append(Section("learning", "Learning curves", body))
    sections.append(Section("references", "What returns mean", _references(groups)))
    compared, figures = _comparison(comparison, labels, out)
    sections, paths = sections + compared, paths + figures
    if adaptations:
        paths += plot_adaptation(adaptations, labels, out)
        paths.append(write_csv(out / "adaptation.csv", csv_rows(adaptations)))
        body = figure(out / "adaptation_curves.png", _sentence(adaptation_legend(adaptations)))
        sections.append(Section("adaptation", "Adaptation", body))
    broken = [f"{run.path / 'evaluations' / name}" for g in groups for run in g.runs for name in unreadable(run)]
    if evaluated or broken:
        body = evaluated.html() + _numbers(evaluated) if evaluated else ""
        body += paragraph(f"Left out, as no evaluation of rlformers evaluate: {', '.join(broken)}.") * bool(broken)
        sections.append(Section("evaluations", "Evaluations", body))
    sections.append(
        Section("runs", "Runs", unfinished(runs) + paragraph("All runs, with the commands: runs.csv.", "note"))
    )
    sections.append(Section("reproduce", "Settings and versions", settings(groups)))

    tables = [results, runs, references, comparison.aggregate, comparison.improvement, comparison.profile, evaluated]
    paths += [table.write(out) for table in tables if table is not None]
    paths.append(out / "table.md")
    paths[-1].write_text(_markdown(results, [comparison.aggregate, comparison.improvement], runs))
    paths.append(out / "index.html")
    paths[-1].write_text(page(*_heading(groups), sections), encoding="utf-8")
    return paths


def _curves(
    groups: Sequence[Group], curves: Sequence[MeanCurve], labels: Sequence[str], path: Path, legend: str
) -> tuple[str, list[Path]]:
    legend = legend_of(legend, curves)
    paths = plot_learning(groups, curves, labels, path, legend)
    rows = learning_rows(groups, curves)
    paths += [write_csv(path.with_suffix(".csv"), rows)] if rows else []
    return figure(path.with_suffix(".png"), _sentence(legend)), paths


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _references(groups: Sequence[Group]) -> str:
    table = references_table(groups)
    if table is None:
        return paragraph("No reference known for these environments in these configurations.")
    unknown = sorted({g.env for g in groups if g.scores is None})
    return table.html() + _numbers(table) + paragraph(f"No reference known: {', '.join(unknown)}.") * bool(unknown)


def _comparison(comparison: Comparison, labels: Sequence[str], out: Path) -> tuple[list[Section], list[Path]]:
    """Draw what there is to compare; its sections, which say why there is no more, and the paths."""
    sections: list[Section] = []
    paths: list[Path] = []
    drawings = (
        (comparison.aggregate, lambda table: plot_aggregate(table, labels, out)),
        (comparison.improvement, lambda table: plot_improvement(table, out)),
        (comparison.profile, lambda table: plot_profile(table, labels, out)),
    )
    for (name, title), (table, plot) in zip(TITLES.items(), drawings, strict=True):
        if table is None:
            body = paragraph(comparison.absent[name])
        else:
            paths += plot(table)
            body = figure(out / f"{name}.png", table.note)
            body += (
                "" if table is comparison.profile else folded(table._replace(note=""))
            )  # which is a drawing's points
            body += _numbers(table)
        sections.append(Section(name, title, body))
    return sections, paths


def _numbers(table: Table) -> str:
    return paragraph(f"All digits: {table.name}.csv.", "note")


def _heading(groups: Sequence[Group]) -> tuple[str, str, str]:
    """Title, date and what was compared."""
    envs, labels = ({getattr(g, name): None for g in groups} for name in ("env", "label"))
    runs = [run for g in groups for run in g.runs]
    seeds = sorted({len(g.final_returns) or g.seeds for g in groups})
    counts = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    title = f"{_some(list(labels), 'cores')} on {_some(list(envs), 'environments')}"
    lead = f"{len(labels)} cores on {len(envs)} environments: {len(runs)} runs, {counts} seeds of each."
    return title, time.strftime("%-d %B %Y, %H:%M"), lead


def _some(names: list[str], what: str) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} {what}"


def _markdown(results: Table, comparisons: list[Table | None], runs: Table) -> str:
    """The tables for people in terminals and readers of repositories."""
    parts = [results.markdown()]
    for table in comparisons:
        if table is not None:
            parts.append(f"## {TITLES[table.name]}\n\n{table.markdown()}")
    if rows := not_finished(runs):
        parts.append("## Runs that are not finished, or not wholly sound\n\n" + runs._replace(rows=rows).markdown())
    return "\n".join(parts)
