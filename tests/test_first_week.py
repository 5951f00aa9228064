"""The page of the first week names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_line_of_the_first_week_has_tests():
    rows = [line for line in (ROOT / "tests/first_week.md").read_text().splitlines() if re.match(r"\| \d", line)]
    assert len(rows) == 34
    for row in rows:
        named = re.findall(r"`(tests/[^`:]+\.py)(?:::(\w+))?`", row)
        assert len(named) == row.count("`tests/") > 0, row
        for file, test in named:
            assert (
                f"\ndef {test}(" in (ROOT / file).read_text() if test else "\ndef test_" in (ROOT / file).read_text()
            ), row
