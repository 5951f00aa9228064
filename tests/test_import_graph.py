"""Modules import one way: no cycles among files, and layers that import downwards only."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from rlformers.envs.registry import BUILT_IN

ROOT = Path(__file__).parents[1]
# Imports inside functions that may close a cycle, as (importer, imported): why. None is needed.
ALLOWED: dict[tuple[str, str], str] = {}
# Every layer may import itself and what stands here; the modules of `BASE` may be imported by all.
BASE = {"", "errors", "value_types", "quick_compile", "old_names", "operations"}
# Files that stand lower than their layer: keys of an experiment are declared beside what they configure.
LOWER = {"rlformers.envs.wrappers.keys"}
BELOW = {
    "cores": set(),
    "envs": set(),
    "config": {"cores"},
    "agents": {"cores", "config"},
    "experiment": {"cores", "config", "agents", "envs"},
}


def files():
    """Path of every module by its import name; `envs/` and `agents/` are subpackages, by symlinks."""
    found = {}
    for folder, prefix in (("rlformers", ""), ("envs", "rlformers."), ("agents", "rlformers.")):
        for path in (ROOT / folder).rglob("*.py"):
            if not any(parent.is_symlink() for parent in path.parents if parent.is_relative_to(ROOT)):
                parts = path.relative_to(ROOT).with_suffix("").parts
                found[prefix + ".".join(part for part in parts if part != "__init__")] = path
    return found


FILES = files()


def imports_of(tree, package, modules):
    """Pairs of an imported module of ours and whether it is imported inside a function; not for type checkers alone."""
    found, nodes = set(), [(tree, False)]
    while nodes:
        node, lazy = nodes.pop()
        names = []
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += [(child, lazy) for child in node.orelse]
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: 1 - node.level or None]) if node.level else ""
            base = ".".join(filter(None, (base, node.module)))
            parts = [f"{base}.{alias.name}" for alias in node.names]
            names = [part if part in modules else base for part in parts]
        found |= {(name, lazy) for name in names if name in modules}
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        nodes += [(child, inside) for child in ast.iter_child_nodes(node)]
    return found


def graph(lazy):
    """What every module imports; with `lazy`, inside functions too."""
    found = {}
    for name, path in FILES.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        pairs = imports_of(ast.parse(path.read_text()), package, FILES)
        found[name] = {other for other, late in pairs if other != name and (lazy or not late)}
    return found


def cycle(imports):
    """A cycle in words, or none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return ""


def layer(name):
    return name.removeprefix("rlformers").removeprefix(".").partition(".")[0]


def test_all_modules_are_looked_at():
    assert {"rlformers", "rlformers.envs.registry", "rlformers.agents.agent", "rlformers.cores.core"} <= set(FILES)
    assert "rlformers.envs.scores" not in graph(lazy=True)["rlformers.envs.registry"]
    assert "rlformers.envs.registry" in graph(lazy=True)["rlformers.envs.scores"]


@pytest.mark.parametrize("lazy", [False, True], ids=["at import", "inside functions too"])
def test_no_file_imports_itself_through_others(lazy):
    imports = graph(lazy)
    for importer, imported in ALLOWED:
        imports[importer].remove(imported)  # fails if it is not imported any more
    assert cycle(imports) == ""


def test_a_cycle_would_be_seen():
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a.t\ndef f():\n    from a.b import g\n"
    assert imports_of(ast.parse(source), "a", {"a.b", "a.t"}) == {("a.b", True)}
    assert imports_of(ast.parse("from . import b\nfrom .b import g"), "a", {"a.b"}) == {("a.b", False)}
    assert cycle({"x": {"y"}, "y": {"z"}, "z": {"x"}}).count(" -> ") == 3


def test_layers_import_downwards():
    wrong = {
        f"{importer} imports {imported}"
        for importer, others in graph(lazy=True).items()
        for imported in others
        if layer(importer) in BELOW
        and imported not in LOWER
        and layer(imported) not in BELOW[layer(importer)] | BASE | {layer(importer)}
    }
    assert wrong == set()


def test_what_only_measures_stays_outside():
    """`tools/` is not in the wheel."""
    assert [
        name for name, path in FILES.items() if re.search(r"^\s*(import|from) tools\b", path.read_text(), re.M)
    ] == []
    assert (ROOT / "tools").is_dir()


def test_no_environment_imports_the_registry_that_names_it():
    imports = graph(lazy=True)
    for target in sorted({str(entry.target).partition(":")[0] for entry in BUILT_IN.values()}):
        reached, ahead = set(), [target]
        while ahead:
            name = ahead.pop()
            reached.add(name)
            ahead += imports[name] - reached
        assert "rlformers.envs.registry" not in reached, target
