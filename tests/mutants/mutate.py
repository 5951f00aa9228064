"""Put every fault of `faults.py` into a copy of the tree, one at a time, and run the fast tests of that part.

    python tests/mutants/mutate.py [WORD ...]

With words, only the faults whose name or file has one of them. tests/mutants/caught.md is written
after each; rows of other faults stay. The exit code is 1 if a fault survives.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from faults import FAULTS, TESTS, Fault

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "tests" / "mutants" / "caught.md"
PARTS = (
    "agents",
    "configs",
    "envs",
    "examples",
    "rlformers",
    "tests",
    "tools",
    "pyproject.toml",
    "README.md",
    "Makefile",
)
WORKERS = 2  # one per core of the smallest machine that this is made for
SURVIVES, NOT_TRIED = "**survives**", "not tried"
LIMIT = 600  # seconds: a fault that makes the tests hang is caught, too


def copy_of_the_tree(folder: str) -> Path:
    """What tests need."""
    tree = Path(folder)
    for part in PARTS:
        source, target = ROOT / part, tree / part
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return tree


def first_failure(tree: Path, tests: tuple[str, ...]) -> str | None:
    """The first test that fails in a tree; None if all pass."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests]
    environment = os.environ | {"PYTHONPATH": str(tree), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"no end within {LIMIT} s"
    if done.returncode == 0:
        return None
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return found[1] if found else done.stdout.strip().splitlines()[-1]


def mutate(tree: Path, fault: Fault) -> str | None:
    """The test that notices a fault; the tree is as before afterwards."""
    path = tree / fault.path
    right = path.read_text()
    try:
        path.write_text(right.replace(fault.right, fault.wrong))
        return first_failure(tree, TESTS[fault.path])
    finally:
        path.write_text(right)


def read_table() -> dict[tuple[str, str], str]:
    """The test that noticed each fault in its last trial."""
    lines = TABLE.read_text().splitlines() if TABLE.exists() else []
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    return {(path, name): caught for path, name, caught in rows[1:]}


def write_table(found: dict[tuple[str, str], str]) -> None:
    """A row for every fault."""
    rows = [(fault.path, fault.name, found.get((fault.path, fault.name), NOT_TRIED)) for fault in FAULTS]
    count = {what: sum(row[2] == what for row in rows) for what in (SURVIVES, NOT_TRIED)}
    head = f"{len(rows)} faults: {count[SURVIVES]} survive, {count[NOT_TRIED]} have not been tried yet."
    lines = ["# What the tests of the learner notice", "", f"Made by `make mutants`. {head}", ""]
    lines += ["| file | fault | first test that fails |", "|---|---|---|"]
    TABLE.write_text("\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n")


def main() -> int:
    """Run what the command line asks for."""
    words = sys.argv[1:]
    chosen = [fault for fault in FAULTS if not words or any(word in f"{fault.path} {fault.name}" for word in words)]
    started, survivors, found = time.time(), 0, read_table()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as pool:
        trees: Queue[Path] = Queue()
        for i in range(WORKERS):
            trees.put(copy_of_the_tree(f"{folder}/{i}"))

        def in_a_tree(job):
            tree = trees.get()
            try:
                return job(tree)
            finally:
                trees.put(tree)

        sound = sorted({TESTS[fault.path] for fault in chosen})
        failures = pool.map(lambda tests: in_a_tree(lambda tree: first_failure(tree, tests)), sound)
        for tests, failure in zip(sound, failures, strict=True):
            if failure:
                sys.exit(f"without any fault {failure} fails, one of {' '.join(tests)}")
        results = pool.map(lambda fault: in_a_tree(lambda tree: mutate(tree, fault)), chosen)
        for fault, caught in zip(chosen, results, strict=True):
            survivors += caught is None
            print(f"{'SURVIVES' if caught is None else 'caught':9} {fault.path:36} {fault.name}", flush=True)
            found[fault.path, fault.name] = (caught or SURVIVES).replace("|", "/")
            write_table(found)
    print(f"{len(chosen)} faults, {survivors} survive, {(time.time() - started) / 60:.0f} min")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
