"""The letters of axes in annotations are those of the legend in rlformers/cores/core.py."""

import re
from pathlib import Path

import pytest

import rlformers
from rlformers.cores import core

LEGEND = re.findall(r"^    (\w)  ", core.__doc__ or "", re.M)
ANNOTATION = re.compile(r'\[\s*(?:Array|ArrayLike|np\.ndarray),\s*"([^"]*)"')
ROOT = Path(rlformers.__file__).parent
FILES = {path.relative_to(ROOT): path.read_text() for name in ("cores", "agents") for path in ROOT.glob(f"{name}/*.py")}


def letters(source):
    """Of `"*batch T A2"`: T and A, for A2 is another number of A."""
    axes = (axis.lstrip("*#") for string in ANNOTATION.findall(source) for axis in string.split())
    return {axis[0] for axis in axes if re.fullmatch(r"[A-Za-z]\d*", axis)}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_letters_of_axes_are_in_the_legend(path):
    assert letters(FILES[path]) <= set(LEGEND)


def test_the_legend_has_what_is_used_and_once():
    assert {"T", "B", "S", "D", "L", "M"} <= set(LEGEND)
    used = set.union(*map(letters, FILES.values()))
    assert sorted({*used, "S", "L"}) == sorted(LEGEND)  # seeds and layers are axes of what is vmapped and stacked
