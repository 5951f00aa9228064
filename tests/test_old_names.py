"""Old names of modules still work, and say where the module is now."""

import importlib
import sys

import pytest

from rlformers.old_names import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_the_module_under_its_new_name(old, monkeypatch):
    monkeypatch.delitem(sys.modules, f"rlformers.{old}", raising=False)
    new = importlib.import_module(f"rlformers.{MOVED[old]}")
    with pytest.warns(DeprecationWarning, match=f"rlformers.{old} has moved to rlformers.{MOVED[old]}"):
        found = importlib.import_module(f"rlformers.{old}")
    assert found is new
    assert new.__spec__ is not None and new.__spec__.name == new.__name__ == f"rlformers.{MOVED[old]}"


def test_names_that_never_were_are_not_found():
    with pytest.raises(ModuleNotFoundError, match="rlformers.experiment.loggers"):
        importlib.import_module("rlformers.experiment.loggers")
