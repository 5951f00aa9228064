"""Writes the tables of environments in the docs from the registry.

    python -m tools.docs_tables

A table stands between `<!-- table: SUITE -->` and `<!-- end of table -->`, and nothing else does.
`tests/envs/test_docs_tables.py` compares.
"""

import dataclasses
import inspect
import re
from pathlib import Path

from rlformers.envs.registry import BUILT_IN, load, make_env
from rlformers.envs.spec import Entry

DOCS = Path(__file__).parents[1] / "docs"
PAGES = (DOCS / "envs/memory.md",)
HEADER = ("id", "what it asks for", "`env_params`", "`env_kwargs`", "length", "best return", "without memory")


def row(entry: Entry) -> tuple[str, ...]:
    """The cells of an environment."""
    _, params = make_env(entry.name, raw=True)
    fields = [field.name for field in dataclasses.fields(params)]
    arguments = [name for name in inspect.signature(load(entry)).parameters]
    memoryless = entry.scores().memoryless if entry.scores else None
    return (
        entry.name.partition("/")[2],
        entry.summary,
        ", ".join(f"`{name}`" for name in fields) or "-",
        ", ".join(f"`{name}`" for name in arguments) or "-",
        entry.length,
        entry.best_in_words or "unknown",
        "unknown" if memoryless is None else f"{memoryless:.3g}",
    )


def table(suite: str) -> str:
    """The table of a suite, in Markdown."""
    rows = [HEADER, ("---",) * len(HEADER), *(row(entry) for entry in entries_of(suite))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def entries_of(suite: str) -> list[Entry]:
    """The built-in environments of a suite."""
    return [entry for entry in BUILT_IN.values() if entry.name.startswith(f"{suite}/")]


def rendered(page: str) -> str:
    """A page with its tables as they should be."""
    return re.sub(
        r"(<!-- table: (\w+) -->\n).*?(\n<!-- end of table -->)",
        lambda match: match[1] + table(match[2]) + match[3],
        page,
        flags=re.DOTALL,
    )


def main() -> None:
    """Write the pages."""
    for path in PAGES:
        path.write_text(rendered(path.read_text()))


if __name__ == "__main__":
    main()
