"""The README is true: its programs run, its commands are valid, and its files exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rlformers.config.compose import compose
from rlformers.cores.registry import built_in
from rlformers.experiment.program.build import check

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.S)
COMMANDS = re.findall(r"^(?:    |\| `)(rlformers .*?)(?:`.*|\s+#.*)?$", README, re.M)


@pytest.mark.parametrize("program", PROGRAMS, ids=["core", "env"])
def test_programs_run(program, tmp_path):
    (tmp_path / "program.py").write_text(program)
    result = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0 and "final return" in result.stdout, result.stdout + result.stderr
    assert list(tmp_path.rglob("summary.json"))


TRAIN = [words for words in map(str.split, COMMANDS) if words[1] == "train" and words[2:] != ["--help"]]


@pytest.mark.parametrize("words", TRAIN, ids=" ".join)
def test_train_commands_are_valid(words):
    words = [word for word in words[2:] if not word.startswith(("--", "resume=", "init_from=", "vmap_over="))]
    swept = [word for word in words if "," in word]
    plain = [word for word in words if word not in swept]
    for choice in swept[0].split("=")[1].split(",") if swept else [None]:
        check(compose(plain + ([f"{swept[0].split('=')[0]}={choice}"] if choice else [])))


def test_commands_and_files_are_found():
    assert len(COMMANDS) >= 8
    links = re.findall(r"\(((?:docs|tests|configs)/[^)]*)\)", README)
    names = re.findall(r"`((?:tests|examples)/[^`]*)`", README)
    assert len(links) > 5 and len(names) > 1
    for path in links + names:
        assert (ROOT / path).exists(), path


def test_every_core_has_a_page_and_a_result():
    overview = (ROOT / "docs/cores.md").read_text()
    for core in built_in():
        assert (ROOT / f"docs/cores/{core}.md").read_text().startswith(f"# {core}\n")
        assert f"| [{core}](cores/{core}.md) |" in overview
