"""The list of environments says what they are, without importing them."""

import subprocess
import sys

import pytest

from rlformers.command.main import main
from rlformers.envs import registry
from rlformers.envs.listing import stored_spaces, table
from rlformers.envs.memory.tmaze import TMaze
from rlformers.envs.registry import BUILT_IN, entries, register_env
from tools.record_spaces import describe


def test_stored_spaces_are_those_of_our_environments():
    stored, seen = stored_spaces(), 0
    assert set(stored) == set(BUILT_IN)
    for name, entry in BUILT_IN.items():
        if entry.extra or "MNIST" in name:  # another package's, see below; it downloads a data set
            continue
        assert stored[name] == describe(name), name
        seen += 1
    assert seen > 80


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, entry in BUILT_IN.items() if entry.extra])
def test_stored_spaces_are_those_of_other_packages(name):
    try:
        live = describe(name)
    except ValueError as error:
        if "pip install" not in str(error):
            raise
        pytest.skip(str(error))
    assert stored_spaces()[name] == live


def test_columns_are_aligned(capsys):
    assert main(["list", "envs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    header, rows = lines[0], lines[1 : lines.index("")]
    starts = [header.index(word) for word in ("env", "observation", "action", "length", "best", "what")]
    assert len(rows) == len(entries())
    assert all(row[start - 1] == " " != row[start] for row in rows for start in starts[1:])
    repeat = next(row for row in rows if row.startswith("popgym/RepeatPreviousEasy"))
    assert repeat.split()[1:5] == ["Discrete(4)", "Discrete(4)", "51", "1"] and "suit" in repeat


def test_one_suite_can_be_listed(capsys):
    assert main(["list", "envs", "memory/T"]) == 0
    assert "memory/TMaze" in (out := capsys.readouterr().out) and "memory/Active" not in out and "gymnax" not in out
    assert main(["list", "envs", "popjim"]) == 2
    assert "popjim" in (error := capsys.readouterr().err) and "popgym" in error and error.count("\n") == 1


def test_registered_environments_are_listed_without_spaces(monkeypatch):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    register_env("mine/Maze", "nowhere:Maze", summary="a maze", length="10", best="1")
    assert table("mine/")[1].split() == ["mine/Maze", "-", "-", "10", "1", "a", "maze"]


@pytest.mark.parametrize("command", ["list cores", "list envs", "train --help"])
def test_a_closed_pipe_is_no_error(command):
    process = subprocess.Popen(
        [sys.executable, "-m", "rlformers", *command.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 141


class Broken(TMaze):
    def step_env(self, key, state, action, params):
        raise NotImplementedError("of what?")


def test_the_command_line_checks_an_environment(monkeypatch, capsys):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    register_env("mine/Broken", Broken)
    assert main(["check", "mine/Broken"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("mine/Broken\n  ok    params") and "FAIL  reset and step can be traced: NotImplemented" in out
    assert main(["check", "memory/TMase"]) == 2
    assert "memory/TMaze" in capsys.readouterr().err
