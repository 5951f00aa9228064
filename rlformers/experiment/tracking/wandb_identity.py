"""The W&B runs of a run directory. `wandb/ids.json` keeps their ids, so that every later start continues them."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from rlformers.config import ExperimentConfig
from rlformers.errors import UserError
from rlformers.experiment.run_files.run_dir import write_json
from rlformers.experiment.tracking.wandb_mode import agent_trial

LONGEST_NAME = 128  # characters that W&B allows in the name of a group or run


@dataclass
class Identity:
    """The group and the run id of every seed, or the trial of a W&B sweep: one run for all seeds.

    The project and entity of a trial belong to its sweep, and are known once it has started.
    """

    group: str
    ids: dict[str, str]
    trial: str | None = None
    project: str | None = None
    entity: str | None = None
    rows: dict[str, int] | None = (
        None  # number of rows in the local files of each run when training last ended normally
    )

    def members(self, config: ExperimentConfig) -> dict[str, list[int]]:
        """The seeds of every run."""
        if self.trial:
            return {self.trial: list(range(config.seed, config.seed + config.seeds))}
        return {run_id: [int(seed)] for seed, run_id in self.ids.items()}

    def save(self, run_dir: Path) -> None:
        """Save it for the next start."""
        path = run_dir / "wandb" / "ids.json"
        path.parent.mkdir(exist_ok=True)
        write_json(path, {key: value for key, value in vars(self).items() if value is not None})


def identity(config: ExperimentConfig, run_dir: Path, group: str | None) -> Identity:
    """The identity of an earlier start, or a new one: the trial inside `wandb agent`, otherwise random ids.

    Args:
        config: The configuration of the run.
        run_dir: Its directory.
        group: The group of a new identity, unless the configuration names one.

    Raises:
        UserError: The directory belongs to other W&B runs than the trial of the agent, or
            `ids.json` cannot be read.
    """
    sweep, trial = agent_trial() or (None, None)
    path = run_dir / "wandb" / "ids.json"
    if path.exists():
        try:
            saved = Identity(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} does not hold the ids of W&B runs; move it away to log to new runs") from error
        if trial and saved.trial != trial:
            raise UserError(
                f"{path} belongs to other runs than trial {trial} of the agent; leave run_dir out of the sweep"
            )
        return saved
    seeds = range(config.seed, config.seed + config.seeds)
    ids = {} if trial else {str(seed): secrets.token_hex(4) for seed in seeds}
    named = config.wandb.group or sweep or os.environ.get("WANDB_RUN_GROUP") or group or config.env
    new = Identity(_short(named), ids, trial)
    new.save(run_dir)
    return new


def _short(group: str) -> str:
    """The name of a group, cut to the length that W&B allows."""
    if len(group) <= LONGEST_NAME:
        return group
    cut = group[:LONGEST_NAME]
    print(f"wandb: a group has at most {LONGEST_NAME} characters; it is cut to {cut}")
    return cut
