"""Hydra's launchers and sweepers: which of their settings can be set, and how they are called."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlformers.config.experiments import CONFIGS
from rlformers.config.overrides import given, quoted
from rlformers.errors import UserError, first_line
from rlformers.experiment.run_files.error_file import described
from rlformers.experiment.training.stop_request import StopRequest

# The package to install for each plug-in.
PACKAGES = {
    "hydra/launcher=joblib": "'rlformers[joblib]'",
    "hydra/launcher=submitit_slurm": "'rlformers[slurm]'",
    "hydra/launcher=submitit_local": "'rlformers[slurm]'",
    "hydra/launcher=ray": "hydra-ray-launcher",
    "hydra/launcher=rq": "hydra-rq-launcher",
    "hydra/sweeper=optuna": "hydra-optuna-sweeper",
    "hydra/sweeper=ax": "hydra-ax-sweeper",
    "hydra/sweeper=nevergrad": "hydra-nevergrad-sweeper",
}
# We maximize returns, which is no sweeper's default. A run that fails must not stop the others.
DEFAULTS = {
    "optuna": ("hydra.sweeper.direction=maximize", "hydra.sweeper.max_failure_rate=1.0"),
    "ax": ("hydra.sweeper.ax_config.experiment.minimize=false",),
    "nevergrad": ("hydra.sweeper.optim.maximize=true",),
}
_QUIET = ("hydra/hydra_logging=none", "hydra/job_logging=none", "hydra.output_subdir=null")
_ALLOWED = ("hydra/launcher", "hydra/sweeper", "hydra.launcher.", "hydra.sweeper.")


def is_hydras(override: Override) -> bool:
    """Whether an override is one of Hydra's own settings.

    Raises:
        UserError: It is a setting of Hydra that cannot be set here.
    """
    key = override.key_or_group
    if key != "hydra" and not key.startswith(("hydra.", "hydra/")):
        return False
    if not key.startswith(_ALLOWED):
        allowed = "hydra/launcher, hydra/sweeper, hydra.launcher.* and hydra.sweeper.*"
        raise UserError(f"{key}: of Hydra's own settings, only {allowed} can be set")
    return True


class HydraSettings:
    """A context in which Hydra has a launcher and a sweeper.

    Args:
        settings: Hydra's settings on the command line.

    Raises:
        UserError: On entry, if a setting does not exist or a plug-in is not installed.
    """

    def __init__(self, settings: Sequence[Override]) -> None:
        self._words = [str(override.input_line) for override in settings]
        chosen = {override.key_or_group: given(override) for override in settings}
        # "" for Hydra's own, which run one combination after the other in this process.
        self.launcher, self.sweeper = (
            chosen.get(f"hydra/{what}", "basic").replace("basic", "") for what in ("launcher", "sweeper")
        )
        keys = [override.key_or_group for override in settings]
        self._words += [word for word in DEFAULTS.get(self.sweeper, ()) if word.partition("=")[0] not in keys]

    def __enter__(self) -> "HydraSettings":
        # Hydra knows only one application at a time, and the caller may be in one: its own, or a
        # sweep of ours.
        self._outer, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
        OmegaConf.clear_resolver("oc.env")  # a configuration must not copy environment variables into logs
        try:
            with initialize_config_dir(str(CONFIGS.resolve()), version_base="1.3"):
                self._hydra: Any = GlobalHydra.instance().hydra
            self._check()
        except BaseException:
            self.__exit__()
            raise
        if self.launcher:
            # The workers need the accelerator; this process would occupy it as soon as it makes an
            # array.
            import jax

            jax.config.update("jax_platforms", "cpu")
        return self

    def __exit__(self, *_: object) -> None:
        GlobalHydra.instance().hydra = self._outer

    def _check(self) -> None:
        try:
            self._hydra.compose_config(None, [*self._words, *_QUIET], RunMode.MULTIRUN, with_log_configuration=False)
        except (HydraException, OmegaConfBaseException) as error:
            for word in self._words:
                key, _, name = word.partition("=")
                if key in ("hydra/launcher", "hydra/sweeper") and f"{key}/{name}" in str(error):
                    package = PACKAGES.get(word)
                    advice = f"; pip install {package}" if package else "; is its plug-in installed?"
                    raise UserError(f"{key}: {name!r} is not installed{advice}") from error
            raise UserError(f"hydra: {first_line(error)}") from error

    def launch(
        self, task: Callable, words: Sequence[str], directory: Path, stop: StopRequest, keys: Sequence[str] = ()
    ) -> None:
        """Let the launcher run the task for every combination of the words.

        Errors after a stop are ignored: they only say that it stopped. An error of a launcher
        becomes one line, because the results list the runs that it did not reach. An error of a
        sweeper is raised.

        Args:
            task: Gets the configuration that Hydra makes from the words; must be picklable.
            words: Sweeps in Hydra's grammar.
            directory: For the files of Hydra and the launcher.
            stop: The stop request of the sweep.
            keys: Keys, with dots, that the words can set without a `+`.
        """
        space = OmegaConf.create()
        for key in keys:
            OmegaConf.update(space, key, None, force_add=True)
        ConfigStore.instance().store("rlformers_sweep", space, provider="rlformers")
        where = [f"hydra.sweep.dir={quoted(str(directory))}", "hydra.sweep.subdir=."]
        try:
            self._hydra.multirun("rlformers_sweep", task, [*words, *self._words, *_QUIET, *where])
        except Exception as error:
            if self.sweeper and not stop.received:
                raise
            if not stop.received:
                line, traceback = described(error, named=True)
                print(f"{traceback}hydra/launcher: {line}", flush=True)
