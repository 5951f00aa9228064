"""The tables of environments in the docs are those of the registry."""

import re

from tools.docs_tables import HEADER, PAGES, entries_of, rendered


def test_the_tables_are_up_to_date():
    for path in PAGES:
        page = path.read_text()
        assert rendered(page) == page, "run: python -m tools.docs_tables"


def test_every_environment_of_a_suite_has_a_row():
    (path,) = PAGES
    text = path.read_text().partition("<!-- table: memory -->")[2].partition("<!-- end of table -->")[0]
    header, _, *rows = [re.split(r" \| ", line.strip("| ")) for line in text.strip().splitlines()]
    assert tuple(header) == HEADER
    assert [cells[0] for cells in rows] == [entry.name.removeprefix("memory/") for entry in entries_of("memory")]
    copy = next(cells for cells in rows if cells[0] == "Copy")
    assert copy[2:] == ["`items`, `delay`", "`num_symbols`", "16", "1", "0.125"]
