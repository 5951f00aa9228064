"""Vector files of other sizes, lengths and resets than the published ones, made here, are within tolerance too."""

import jax
import numpy as np
import pytest
from formulas import make_file
from vectors import CHECKS, compare, compute, ignored

# T, B, two sizes, and resets.
CASES = {
    "each its own": (9, 3, 3, 5, "random"),
    "one token": (1, 1, 5, 3, "first"),
    "everywhere": (13, 2, 5, 2, "all"),
}
FAST = {("mamba_s6_scan", "each its own"), ("lmuformer_conv_embed", "each its own")}


def resets(kind, T, B, name):
    """Per token and environment, or per token; files of S5 have no environments."""
    if kind == "random":
        return np.random.default_rng(0).random((T,) if name.startswith("s5") else (T, B)) < 0.3
    return np.arange(T) == 0 if kind == "first" else np.ones(T, bool)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(name, case, marks=[] if (name, case) in FAST else pytest.mark.slow)
        for name in CHECKS
        for case in CASES
    ],
)
def test_formulas(name, case):
    T, B, a, b, kind = CASES[case]
    arrays = {key: np.asarray(x) for key, x in make_file(name, 0, T, B, a, b, resets(kind, T, B, name)).items()}
    with jax.enable_x64(True):
        pairs, seen = compute(name, arrays)
        results = list(compare(pairs, arrays))
    assert results and {result.name: result.error for result in results if result.ratio > 1} == {}
    assert "unknown" not in ignored(name, arrays, pairs, seen).values()
