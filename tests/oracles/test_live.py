"""Cores against installed implementations by others: outputs, last states and gradients, of scan and step.

pip install -e '.[dev,oracles]'
pytest -m slow tests/oracles/test_live.py
"""

import jax
import pytest
from live import CASES
from live.common import compare


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_live(name):
    case = CASES[name]
    with jax.enable_x64(case.x64):
        results = list(compare(*case.make()))
    assert {name: error for name, error, ratio in results if ratio > 1} == {}
