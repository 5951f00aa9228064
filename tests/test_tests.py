"""Tests can fail: none returns a value, and each has a check that no `if` skips."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECKS = ("assert", "check", "raise", "fail", "test_")  # parts of the names of functions that complain


def is_check(node):
    """Whether it is an assertion, a call that complains, or a process that must succeed."""
    if not isinstance(node, ast.Call):
        return isinstance(node, ast.Assert)
    name = ast.unparse(node.func).rpartition(".")[2]
    return any(word in name for word in CHECKS) or any(keyword.arg == "check" for keyword in node.keywords)


def complaints(test):
    found, checks, nodes = [], 0, [(test, False)]
    while nodes:
        node, skipped = nodes.pop()
        skipped |= isinstance(node, ast.If) and not node.orelse
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Return):
                found.append(f"returns in line {child.lineno}; skip, or leave the case out")
            checks += is_check(child) and not skipped
            if not isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
                nodes.append((child, skipped))
    return found if checks else [*found, "checks nothing, or under an `if` only"]


@pytest.mark.parametrize(
    "file", [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("examples/*/tests/test_*.py")], ids=lambda path: path.name
)
def test_tests_can_fail(file):
    tests = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    found = {test.name: complaints(test) for test in tests if test.name.startswith("test_")}
    assert not {name: lines for name, lines in found.items() if lines}
