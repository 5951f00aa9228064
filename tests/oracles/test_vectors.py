"""Cores against outputs of independent implementations (tests/data/vectors/), and the script that compares them."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import jax
import numpy as np
import pytest
from check_vectors import check_folder
from vectors import CHECKS, IGNORED, compare, compute, ignored, known, read

VECTORS = Path(__file__).parents[1] / "data" / "vectors"
SCRIPT = Path(__file__).with_name("check_vectors.py")


# Variants of what another file checks, or many programs to compile.
VARIANTS = ("s5_layer_half", "s5_layer_gelu", "s5_ssm_bilinear_conj", "s5_ssm_zoh_full", "lmu_keras")
VARIANTS += ("lmu_matrices", "mamba_block", "mamba2_ssd", "mamba3_siso", "gtrxl_diengine")
CASES = [(path, x64) for path in sorted(VECTORS.glob("*.npz")) for x64 in (False, True)]
INPUTS = {"decode_r", "h0"}  # in float64, as all outputs are


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
    name, arrays = known(path.stem), read(path)
    with jax.enable_x64(True) if x64 else nullcontext():
        pairs, seen = compute(name, arrays)
        assert {result.name: result.error for result in compare(pairs, arrays) if result.ratio > 1} == {}
        assert all_outputs_matter(pairs, arrays)
    assert "unknown" not in ignored(name, arrays, pairs, seen).values()
    outputs = {array for array, a in arrays.items() if a.dtype in (np.float64, np.complex128) and a.ndim}
    assert outputs <= {pair.array for pair in pairs} | INPUTS | set(IGNORED.get(name, {}))


def all_outputs_matter(pairs, arrays):
    """Whether a wrong number is noticed in every array that is compared; ours are computed already."""
    for array in {pair.array for pair in pairs} & set(arrays):
        a = arrays[array]
        for i in np.linspace(0, a.size - 1, 5, dtype=int):
            wrong = a.copy()
            wrong.flat[i] += np.ceil(abs(a.flat[i]) + 1).astype(a.dtype) * (1 if a.dtype.kind in "iu" else 1e-3)
            results = compare([pair for pair in pairs if pair.array == array], arrays | {array: wrong})
            assert any(result.ratio > 1 for result in results), (array, i)
    return True


def test_every_check_has_a_file():
    assert {known(path.stem) for path in VECTORS.glob("*.npz")} == set(CHECKS)


def test_names_may_go_on():
    assert known("gru_torch") == known("gru_torch_1") == known("gru_torch2") == "gru_torch"
    assert known("lmu_keras_parallel-b") == "lmu_keras_parallel"  # the longest
    assert known("gru_torches") is None and known("other") is None


@pytest.fixture
def rope():
    return read(VECTORS / "rope.npz")


def test_script(tmp_path, rope):
    np.savez(tmp_path / "rope_1.npz", **rope)
    run = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "out_half_split" in run.stdout and "1 files within tolerance" in run.stdout


def test_script_fails_on_a_wrong_second_file(tmp_path, rope, capsys):
    np.savez(tmp_path / "rope.npz", **rope)
    np.savez(tmp_path / "rope_1.npz", **rope | {"out_interleaved": rope["out_interleaved"] + 1e-4})
    assert check_folder(tmp_path) == 1
    assert capsys.readouterr().out.count("OUT OF TOLERANCE") == 1


def test_script_fails_on_unknown_files(tmp_path, rope, capsys):
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    assert check_folder(tmp_path) == 1
    np.savez(tmp_path / "rope.npz", **rope)
    assert check_folder(tmp_path) == 1
    output = capsys.readouterr().out
    assert "NOT CHECKED: other.npz" in output and "1 files within tolerance" in output


def test_script_names_what_it_does_not_compare(tmp_path, rope, capsys):
    del rope["out_half_split"]
    np.savez(tmp_path / "rope.npz", **rope, more=np.zeros(2))
    assert check_folder(tmp_path) == 0
    output = capsys.readouterr().out
    assert "not compared: more (unknown)" in output and "not in the file: out_half_split" in output


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"out_half_split": np.zeros(3)}, "out_half_split: shape (10, 2, 8), expected (3,)"),
        ({"out_half_split": None, "out_interleaved": None}, "has none of out_half_split, out_interleaved"),
        ({"q": None}, "KeyError: 'q'"),
    ],
)
def test_script_fails_on_a_broken_file(tmp_path, rope, capsys, broken, message):
    arrays = {name: a for name, a in (rope | broken).items() if a is not None}
    np.savez(tmp_path / "rope.npz", **arrays)
    assert check_folder(tmp_path) == 1
    assert f"{message}\n" in capsys.readouterr().out
