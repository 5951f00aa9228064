"""Cores against installed implementations by others: outputs, last states and gradients, of scan and step.

pip install -e '.[dev,oracles]'
pytest -m slow tests/oracles/test_live.py
"""

import importlib.util

import jax
import pytest
from live import CASES
from live.common import compare

PACKAGES = ("torch", "flax", "mambapy", "transformers")


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_live(name):
    case = CASES[name]
    with jax.enable_x64(case.x64):
        results = list(compare(*case.make()))
    assert results and {name: error for name, error, ratio in results if ratio > 1} == {}


@pytest.mark.slow
def test_packages_are_installed(request):
    """Their cases are skipped otherwise. Whoever asks for this file by name wants to know that."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    message = f"nothing is compared with {', '.join(missing)}: pip install -e '.[oracles]'"
    if missing and not any("test_live" in argument for argument in request.config.invocation_params.args):
        pytest.skip(message)
    assert not missing, message
