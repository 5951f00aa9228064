"""Lets code import moved modules under their old names for one version, with a warning that gives the new name.

`tests/test_old_names.py` imports each of them. Delete this module with version 0.3.
"""

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "cli": "command.main",
    "change": "config.compose",
    "compose": "config.compose",
    "multirun": "experiment.sweeps.multirun",
    "ppo_config": "config.ppo",
    "presets": "config.experiments",
    "envs.flatten": "envs.wrappers.flatten",
    "envs.meta.random_projection": "envs.wrappers.random_projection",
    "envs.meta.trial": "envs.wrappers.trial",
    "envs.pace": "envs.wrappers.timing",
    "envs.partial": "envs.wrappers.partial_observability",
    "envs.pictures": "envs.rendering.pictures",
    "envs.pictures.canvas": "envs.rendering.pictures.canvas",
    "envs.render": "envs.rendering.render",
    "envs.wrap": "envs.wrappers.keywords",
    "experiment.build": "experiment.program.build",
    "experiment.checkpoint": "experiment.checkpoints.store",
    "experiment.evaluate": "experiment.evaluation.evaluate",
    "experiment.report": "experiment.reports",
    "experiment.resume": "experiment.checkpoints.resume",
    "experiment.run_dir": "experiment.run_files.run_dir",
    "experiment.sharding": "experiment.program.devices",
    "experiment.sinks": "experiment.tracking",
    "experiment.train": "experiment.training.train",
}


class OldNames(MetaPathFinder, Loader):
    """Finds a module by its old name and returns the module itself: both names are one object."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """A spec for the old names in `MOVED`; None for all others."""
        del path, target
        if fullname.removeprefix("rlformers.") not in MOVED or not fullname.startswith("rlformers."):
            return None
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module under its new name."""
        new = f"rlformers.{MOVED[spec.name.removeprefix('rlformers.')]}"
        warnings.warn(f"{spec.name} has moved to {new}", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Undo what the import system did to the module, which has run already and keeps its new name."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def install() -> None:
    """Let imports find old names.

    The finder comes first: inside a moved package, the ordinary finders would load a second copy.
    """
    if not any(isinstance(finder, OldNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, OldNames())
