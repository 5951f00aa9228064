"""Cores against outputs of independent implementations (tests/data/vectors/)."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import jax
import numpy as np
import pytest
from vectors import CHECKS, check

VECTORS = Path(__file__).parents[1] / "data" / "vectors"
SCRIPT = Path(__file__).with_name("check_vectors.py")


@pytest.mark.parametrize("x64", [pytest.param(False, marks=pytest.mark.slow), True], ids=["float32", "float64"])
@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.npz")), ids=lambda path: path.stem)
def test_vectors(path, x64):
    with jax.enable_x64(True) if x64 else nullcontext():
        results = check(path)
    assert results
    assert {name: error for name, error, ratio in results if ratio > 1} == {}


def test_every_check_has_a_file():
    assert all(list(VECTORS.glob(f"{pattern}.npz")) for pattern in CHECKS)


def test_script_fails_on_a_wrong_file_and_names_unknown_ones(tmp_path):
    with np.load(VECTORS / "gtrxl_gates.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "gtrxl_gates.npz", **arrays)
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    good = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True)
    assert good.returncode == 0, good.stderr
    assert "not checked: other" in good.stdout
    np.savez(tmp_path / "gtrxl_gates.npz", **arrays | {"out_input": arrays["out_input"] + 1e-4})
    bad = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True)
    assert bad.returncode == 1
    assert "OUT OF TOLERANCE" in bad.stdout
