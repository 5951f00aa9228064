"""The page: everything of a report in one HTML file that needs nothing else."""

import base64
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from rlformers.experiment.report.reproduce import command, made_with, shared
from rlformers.experiment.report.results import RUNS
from rlformers.experiment.report.runs import Run
from rlformers.experiment.report.style import CSS
from rlformers.experiment.report.tables import Table


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
    data = base64.b64encode(path.read_bytes()).decode()
    image = f'<img id="{path.stem}" alt="{escape(caption)}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{escape(caption)} Also {path.name}, {path.stem}.pdf.</figcaption></figure>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{f' class={kind}' if kind else ''}>{escape(text)}</p>"


def unfinished(runs: Table) -> str:
    """The runs that are missing or did not reach their end; the others counted."""
    rows = [row for row in runs.rows if row["status"] != "finished"]
    done = len(runs.rows) - len(rows)
    if not rows:
        return paragraph(f"All {done} runs are finished.")
    table = Table("unfinished", RUNS, rows)
    return paragraph(f"{done} runs are finished; these are not, and do not count in any number:") + table.html()


def settings(runs: Sequence[Run]) -> str:
    """Commands, with what they do not share, versions, and the configuration that all share."""
    commands = [command(run) for run in runs]
    common = [word for word in commands[0][2:] if all(word in words for words in commands)]
    differing = {run.path: [w for w in words[2:] if w not in common] for run, words in zip(runs, commands, strict=True)}
    lines = "\n".join(dict.fromkeys(map(shlex.join, commands)))
    facts = "\n".join(f"{name}: {'; '.join(values)}" for name, values in made_with(runs).items())
    apart = "\n".join(dict.fromkeys(shlex.join(words) or "(nothing)" for words in differing.values()))
    keys = "\n".join(f"{key}={value}" for key, value in shared(runs).items())
    common_text = shlex.join(common) or "nothing: all of it is at its default"
    return (
        "<h3>What differs between runs</h3>\n"
        + paragraph(f"Set in all of them, away from the defaults: {common_text}. Set differently:")
        + f"<pre>{escape(apart)}</pre>\n<h3>Commands</h3>\n<pre>{escape(lines)}</pre>\n"
        + f"<h3>Made with</h3>\n<pre>{escape(facts) or 'unknown: no run has a summary'}</pre>\n"
        + f"<details><summary>Every key that all runs have in common</summary><pre>{escape(keys)}</pre></details>"
    )
