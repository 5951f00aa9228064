"""The states that new runs begin with."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlformers.config import ExperimentConfig
from rlformers.experiment.checkpoints.named_arrays import fetch
from rlformers.experiment.checkpoints.other_run import begin_with
from rlformers.experiment.program.compiled_update import Compiled, States


def first_states(compiled: Compiled, config: ExperimentConfig, copies: int) -> tuple[States, dict[str, Any] | None]:
    """The states of all seeds of a number of runs, and what `init_from` has put into them.

    Args:
        compiled: The program of the runs.
        config: The experiment; the runs differ only in `Numbers`.
        copies: The number of runs.

    Raises:
        UserError: As in `other_run.begin_with`.
        CheckpointError: The checkpoint of the other run cannot be read.
    """
    states = compiled.init(compiled.keys)
    if config.init_from is None:
        return states, None
    state, taken = begin_with(config, join([fetch(group) for group in states]), copies)
    return compiled.place(state), taken


def join(states: Sequence[Any]) -> Any:
    """Concatenate pytrees along the first axis of their leaves."""
    if len(states) == 1:
        return states[0]
    return jax.tree.map(lambda *xs: (np if isinstance(xs[0], np.ndarray) else jnp).concatenate(xs), *states)
