"""A table as CSV (all of it, full precision), as Markdown and as HTML (the columns worth reading, rounded)."""

import csv
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple


class Column(NamedTuple):
    """What is shown of a row under one heading."""

    heading: str
    keys: tuple[str, ...]  # two: an interval
    spec: str | None = None  # format of a number; None: text

    def texts(self, row: dict[str, Any]) -> list[str] | None:
        """The values of its keys, None where there are none."""
        values = [row[key] for key in self.keys]
        if any(value is None or value == "" for value in values):
            return None
        return [str(value) if self.spec is None else format(value, self.spec) for value in values]


INTERVAL = Column("95 % interval", ("ci95_low", "ci95_high"), ".3f")  # over seeds, where there are enough
RANGE = Column("range of seeds", ("range_low", "range_high"), ".3f")


def ends(interval: Sequence[float] | None, name: str = "ci95") -> dict[str, Any]:
    """The entries of an interval in a row, None where there is none."""
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


class Table(NamedTuple):
    """Rows of values by name. None: unknown, or does not apply."""

    name: str  # of its file
    columns: Sequence[Column]
    rows: list[dict[str, Any]]
    note: str = ""
    grouped: bool = False  # on the page, rows that are equal in the first column come under one heading

    def write(self, out: Path) -> Path:
        """Write `<name>.csv`."""
        return write_csv(out / f"{self.name}.csv", self.rows)

    def markdown(self) -> str:
        """The shown columns and the note."""
        lines = [
            "| " + " | ".join(column.heading for column in self.columns) + " |",
            "|" + "|".join("---" if column.spec is None else "---:" for column in self.columns) + "|",
        ]
        for row in self.rows:
            cells = (_join(column.texts(row)).replace("|", "\\|") for column in self.columns)
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join([*lines, "", self.note, ""] if self.note else [*lines, ""])

    def html(self) -> str:
        """The shown columns and the note; a number carries its full precision as the value of a `data` element."""
        columns = self.columns[1:] if self.grouped else self.columns
        lines, before = [], None
        for row in self.rows:
            heading = _join(self.columns[0].texts(row))
            if self.grouped and heading != before:
                lines.append(
                    f'<tr class="group"><th scope="rowgroup" colspan="{len(columns)}">{escape(heading)}</th></tr>'
                )
            before = heading
            lines.append("<tr>" + "".join(_cell(column, row) for column in columns) + "</tr>")
        head = "".join(f'<th scope="col"{_right(column)}>{escape(column.heading)}</th>' for column in columns)
        note = f'<p class="note">{escape(self.note)}</p>' if self.note else ""
        return (
            f'<div class="scroll"><table id="{self.name}">\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
            + "\n".join(lines)
            + f"\n</tbody></table></div>\n{note}"
        )


def _join(texts: list[str] | None) -> str:
    if texts is None:
        return "–"
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _cell(column: Column, row: dict[str, Any]) -> str:
    texts = column.texts(row)
    if texts is not None:
        texts = [escape(text) for text in texts]
        if column.spec is not None:
            pairs = zip(column.keys, texts, strict=True)
            texts = [f'<data value="{row[key]}">{text}</data>' for key, text in pairs]
    return f"<td{_right(column)}>{_join(texts)}</td>"


def _right(column: Column) -> str:
    return "" if column.spec is None else ' class="number"'


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows under a header, None as nothing."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
