"""The page of the first week names test files that exist and hold tests."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_line_of_the_first_week_has_tests():
    rows = [line for line in (ROOT / "tests/first_week.md").read_text().splitlines() if re.match(r"\| \d", line)]
    assert len(rows) == 16
    for row in rows:
        files = re.findall(r"`(tests/\S+\.py)`", row)
        assert files, row
        for file in files:
            assert "\ndef test_" in (ROOT / file).read_text(), file
