"""The page: everything of a report in one HTML file that needs nothing else."""

import base64
import re
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from rlformers.experiment.reports.figure_grid import DPI
from rlformers.experiment.reports.groups import Group
from rlformers.experiment.reports.reproduce import commands, made_with, shared
from rlformers.experiment.reports.style_sheet import CSS
from rlformers.experiment.reports.table_formats import Table

_NAMED = re.compile(r"(env|core|seed|seeds)=")


class Section(NamedTuple):
    """A heading and what is below it."""

    name: str  # of the anchor
    title: str
    body: str  # HTML


def page(title: str, date: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole document."""
    links = "".join(f'<a href="#{section.name}">{escape(section.title)}</a> ' for section in sections)
    bodies = "\n".join(
        f'<section id="{section.name}"><h2>{escape(section.title)}</h2>\n{section.body}\n</section>'
        for section in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{CSS}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="lead">{escape(date)}. {escape(lead)}</p>
<nav>{links}</nav>
{bodies}
</body>
</html>
"""


def figure(path: Path, caption: str) -> str:
    """A PNG file as part of the page."""
    content = path.read_bytes()
    data = base64.b64encode(content).decode()
    width = int.from_bytes(content[16:20]) * 96 // DPI  # as large as in print
    image = f'<img id="{path.stem}" width="{width}" alt="{escape(caption)}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{escape(caption)} Also {path.name}, {path.stem}.pdf.</figcaption></figure>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{f' class={kind}' if kind else ''}>{escape(text)}</p>"


def folded(table: Table) -> str:
    """A table, closed at first if it is long."""
    if len(table.rows) <= 30:
        return table.html()
    return f"<details><summary>All {len(table.rows)} rows</summary>{table.html()}</details>"


def not_finished(runs: Table) -> list[dict[str, Any]]:
    """The rows of runs that are missing, did not reach their end, or of which there is more to say."""
    return [row for row in runs.rows if row["status"] != "finished"]


def unfinished(runs: Table) -> str:
    """The runs that `not_finished` names; the others counted."""
    rows = not_finished(runs)
    done = len(runs.rows) - len(rows)
    if not rows:
        return paragraph(f"All {done} runs are finished.")
    table = runs._replace(name="unfinished", rows=rows)
    what = (
        f"{done} runs are finished. These are not, or there is more to say about them. Unfinished runs and "
        "failed seeds do not count in any number:"
    )
    return paragraph(what) + table.html()


def settings(groups: Sequence[Group]) -> str:
    """Hyper-parameters that differ, commands, versions, and the configuration that all runs share."""
    runs = [run for g in groups for run in g.runs]
    words_of = {run.path: words for run, words in zip(runs, commands(runs), strict=True)}
    lines = "\n".join(dict.fromkeys(map(shlex.join, words_of.values())))
    common = set.intersection(*map(set, words_of.values()))
    differing = dict.fromkeys(
        f"{g.env} {run.config['core.name']}: {shlex.join(words)}"
        for g in groups
        for run in g.runs
        if (words := [word for word in words_of[run.path] if word not in common and not _NAMED.match(word)])
    )
    if differing:
        apart = paragraph("Not at their defaults, and not the same in all runs:")
        apart += f"<pre>{escape(chr(10).join(differing))}</pre>"
    else:
        apart = paragraph("None, but for environment, core and seeds.")
    facts = "\n".join(f"{name}: {'; '.join(values)}" for name, values in made_with(runs).items())
    keys = "\n".join(f"{key}={value}" for key, value in shared(runs).items())
    return (
        f"<h3>Settings that differ</h3>\n{apart}\n<h3>Commands</h3>\n<pre>{escape(lines)}</pre>\n"
        f"<h3>Made with</h3>\n<pre>{escape(facts) or 'unknown: no run has a summary'}</pre>\n"
        f"<details><summary>Every key that all runs have in common</summary><pre>{escape(keys)}</pre></details>"
    )
