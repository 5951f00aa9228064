"""Configurations of many runs, of which most are alike."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlformers.config import ExperimentConfig
from rlformers.config.compose import from_dict, load

_SEED = re.compile(r"^seed: (\d+)$", re.MULTILINE)


class ConfigReader:
    """Parses what runs have in common once: to check a configuration takes as long as to read all else of a run.

    Texts that differ in their first seed only count as one.
    """

    def __init__(self) -> None:
        self._known: dict[str, ExperimentConfig] = {}

    def load(self, path: Path) -> ExperimentConfig:
        """As `compose.load`."""
        try:
            text = path.read_text()
        except (OSError, ValueError):
            return load(path)  # which says what is wrong
        seeds = _SEED.findall(text)
        if len(seeds) != 1:
            return self._once(text, lambda: load(path))
        return replace(self._once(_SEED.sub("", text), lambda: load(path)), seed=int(seeds[0]))

    def from_dict(self, values: dict[str, Any]) -> ExperimentConfig:
        """As `compose.from_dict`."""
        seed = values.get("seed")
        if type(seed) is not int:
            return from_dict(values)
        text = json.dumps(values | {"seed": None}, sort_keys=True)
        return replace(self._once(text, lambda: from_dict(values)), seed=seed)

    def _once(self, text: str, parse: Callable[[], ExperimentConfig]) -> ExperimentConfig:
        if text not in self._known:
            self._known[text] = parse()
        return self._known[text]
