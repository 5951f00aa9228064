"""Checks a sweep before anything trains, once for all runs that look the same to the check."""

import json
from collections.abc import Sequence

from rlformers.config.compose import flatten, to_dict
from rlformers.config.ppo import NUMBER_KEYS
from rlformers.errors import UserError
from rlformers.experiment.sweeps.record import Job

# Keys, besides NUMBER_KEYS, that change no shape and no type: runs that differ only in them share a
# check.
UNCHECKED = ("run_dir", "seed", "seeds", "total_steps", "log_every", "chunk_seconds", "checkpoint", "wandb")


def check_once(jobs: Sequence[Job]) -> None:
    """Check the jobs. Jobs that look the same to the check share one.

    Raises:
        UserError: As in `build.check`, with the name of the job.
    """
    from rlformers.experiment.program.build import check

    checked = set()
    for job in jobs:
        values = flatten(to_dict(job.config)).items()
        shaping = {k: v for k, v in values if k.split(".")[0] not in UNCHECKED and k not in NUMBER_KEYS}
        shape = json.dumps(shaping, sort_keys=True, default=repr)
        if shape not in checked:
            checked.add(shape)
            try:
                check(job.config)
            except UserError as error:
                raise UserError(f"{error} (in {job.name})" if job.name else str(error)) from error
            except Exception as error:
                error.add_note(f"in {job.name}")
                raise
