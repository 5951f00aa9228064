"""The guard against numbers that are not finite: it never lets such a state be saved, and names the first such number.

If a seed meets one, its state stays as it was before the update, so that checkpoints hold its last
good state.

With `debug=true` it also checks the operations of an update one by one, and names the line of the
program.
"""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify

import rlformers
from rlformers.agents.finite import checked
from rlformers.agents.ppo import TrainState

Update = Callable[[TrainState], tuple[TrainState, dict[str, Any]]]
_PACKAGE = str(Path(rlformers.__file__).parent)
# The checks of each operation.
_ERRORS = checkify.float_checks | checkify.index_checks


def debugged(update: Update) -> Update:
    """A learner's update that checks its operations; the metric `error` holds what it finds, for `Guard.check`."""
    checks = checkify.checkify(update, errors=_ERRORS)

    def checked_update(state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        error, (state, metrics) = checks(state)
        return state, metrics | {"error": error}

    return checked_update


def keeping_the_last_good(update: Update) -> Update:
    """An update of one seed that leaves its state unchanged if a flag says that something is not finite."""

    def kept(state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        new, metrics = update(state)
        good = metrics["finite"].all()
        for leaf in jax.tree.leaves(metrics.get("error")):
            if leaf.dtype == bool:  # whether a check of `debugged` failed
                good &= ~leaf.any()
        return jax.tree.map(lambda after, before: jnp.where(good, after, before), new, state), metrics

    return kept


class Guard:
    """Reads the flags of every update.

    Args:
        template: The state of the run, leaves [S, ...]; arrays or `jax.ShapeDtypeStruct`s.
    """

    def __init__(self, template: TrainState):
        self._names = checked(template)

    def check(self, metrics: dict[str, Any]) -> dict[int, str]:
        """Remove the flags from the metrics of an update; return a line about what is not finite, by index of seed."""
        finite: np.ndarray = metrics.pop("finite")  # [S, N]
        error = metrics.pop("error", None)
        found = {
            int(i): f"{self._names[int(np.argmin(finite[i]))]} is not finite" for i in np.flatnonzero(~finite.all(1))
        }
        if error is None:
            return found
        texts = [_cause(jax.tree.map(lambda x, i=i: x[i], error)) for i in range(len(finite))]
        return found | {i: f"debug: {text}" for i, text in enumerate(texts) if text}


def _cause(error: checkify.Error) -> str | None:
    """The error and its place: the line of the operation, and the line of this package that called it."""
    try:
        error.throw()
    except checkify.JaxRuntimeError as raised:
        what = " ".join(str(raised).split()).rstrip(".")
        frames = traceback.extract_tb(raised.__cause__.__traceback__ if raised.__cause__ else None)
        own = [frame for frame in frames if frame.filename.startswith(_PACKAGE)]
        lines = dict.fromkeys(f"{frame.filename}:{frame.lineno} ({frame.name})" for frame in (*frames[-1:], *own[-1:]))
        return f"{what} at {' called from '.join(lines)}"
    return None
