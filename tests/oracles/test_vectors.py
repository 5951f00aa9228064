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


# Variants of what another file checks, or many programs to compile.
VARIANTS = ("s5_layer_half", "s5_layer_gelu", "s5_ssm_bilinear_conj", "s5_ssm_zoh_full", "lmu_keras_f", "lmu_keras_t")
VARIANTS += ("lmu_matrices", "mamba_block", "mamba2_ssd", "mamba3_siso", "gtrxl_diengine")
CASES = [(path, x64) for path in sorted(VECTORS.glob("*.npz")) for x64 in (False, True)]


@pytest.mark.parametrize(
    "path,x64",
    [
        pytest.param(
            path,
            x64,
            id=f"{path.stem}-{'float64' if x64 else 'float32'}",
            marks=[] if x64 and not path.stem.startswith(VARIANTS) else pytest.mark.slow,
        )
        for path, x64 in CASES
    ],
)
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
