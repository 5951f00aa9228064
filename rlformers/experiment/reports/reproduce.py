"""What is needed to make the runs again: commands, commits, versions, devices."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rlformers.config import CoreConfig, ExperimentConfig
from rlformers.config.compose import flatten, to_dict
from rlformers.cores import registry
from rlformers.experiment.reports.groups import NEUTRAL, Group
from rlformers.experiment.reports.runs import Run


def commands(runs: Sequence[Run]) -> list[list[str]]:
    """The command of each run."""
    defaults = {name: _defaults(name) for name in {run.config["core.name"] for run in runs}}
    return [_command(run, defaults[run.config["core.name"]]) for run in runs]


def command(run: Run) -> list[str]:
    """The words that train it again: all keys that matter and are not at their defaults."""
    return commands([run])[0]


def _defaults(core: str) -> dict[str, Any]:
    return flatten(to_dict(ExperimentConfig(core=CoreConfig(core, asdict(registry.load(core).Config())))))


def _command(run: Run, defaults: dict[str, Any]) -> list[str]:
    name = run.config["core.name"]
    words = ["rlformers", "train", f"env={_value(run.config['env'])}", f"core={_value(name)}"]
    for key, value in run.config.items():
        told = key in ("env", "core.name") or (key.split(".")[0] in NEUTRAL and key not in ("seed", "seeds"))
        if not told and (key not in defaults or defaults[key] != value):
            words.append(f"{key}={_value(value)}")
    return words


def _value(value: Any) -> str:
    """A value in the grammar of the command line, which is Hydra's."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_value, value))}]"
    if isinstance(value, float) and float(short := f"{value:g}") == value:
        return short
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z][\w./:-]*", value) and value.lower() not in (
            "null",
            "true",
            "false",
            "nan",
            "inf",
        )
        return value if plain else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return repr(value)


def shared(runs: Sequence[Run]) -> dict[str, Any]:
    """Keys that matter and have one value in all runs."""
    first = runs[0].config
    return {
        key: value
        for key, value in first.items()
        if key.split(".")[0] not in NEUTRAL and all(run.config.get(key, ...) == value for run in runs)
    }


def made_with(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Commits, devices and versions of packages that summaries name, each with every value that occurs."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        summary = run.summary or {}
        facts = {"commit": summary.get("git_commit"), "devices": ", ".join(summary.get("devices", []))}
        plugins = {
            f"plug-in {name}": each["commit"] + "-dirty" * each["dirty"]
            for name, each in (summary.get("plugins") or {}).items()
        }
        for name, value in {**facts, **plugins, **summary.get("versions", {})}.items():
            if value:
                found.setdefault(name, {})[value] = None
    return {name: list(values) for name, values in found.items()}


def mixtures(groups: Sequence[Group]) -> list[str]:
    """A sentence for each group whose finished runs do not come from one commit and one set of versions."""
    sentences = []
    for g in groups:
        facts = made_with([run for run in g.runs if run.finished])
        mixed = [
            f"{name} {', '.join(values)}" for name, values in facts.items() if len(values) > 1 and name != "devices"
        ]
        if mixed:
            sentences.append(f"{g.env} {g.label} mixes {'; '.join(mixed)}.")
    return sentences
