"""The guard against numbers that are not finite: no such state is ever saved, and it says what came first.

The state of a seed that meets them stays as it was before the update, so that checkpoints hold its last good one.

With `debug=true` the operations of an update are checked as well, one by one, and the line of the program is named.
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
# What is checked one operation at a time.
_ERRORS = checkify.float_checks | checkify.index_checks


def debugged(update: Update) -> Update:
    """A learner's update that checks its operations; what it finds is the metric `error`, for `Guard.check`."""
    checks = checkify.checkify(update, errors=_ERRORS)

    def checked_update(state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        error, (state, metrics) = checks(state)
        return state, metrics | {"error": error}

    return checked_update


def keeping_the_last_good(update: Update) -> Update:
    """An update of one seed that leaves its state as it was if something is not finite; the flags say so."""

    def kept(state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        new, metrics = update(state)
        good = metrics["finite"].all()
        for leaf in jax.tree.leaves(metrics.get("error")):
            if leaf.dtype == bool:  # whether a check of `debugged` failed
                good &= ~leaf.any()
        return jax.tree.map(lambda after, before: jnp.where(good, after, before), new, state), metrics

    return kept


class Guard:
    """Looks at the flags of every update.

    Args:
        template: The run's state, leaves [S, ...]; arrays or `jax.ShapeDtypeStruct`s.
    """

    def __init__(self, template: TrainState):
        self._names = checked(template)

    def check(self, metrics: dict[str, Any]) -> dict[int, str]:
        """Take the flags out of the metrics of an update; what is not finite, in one line, by the index of the seed."""
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
    """What went wrong and where: the line of the operation, and the one of this package that led there."""
    try:
        error.throw()
    except checkify.JaxRuntimeError as raised:
        what = " ".join(str(raised).split()).rstrip(".")
        frames = traceback.extract_tb(raised.__cause__.__traceback__ if raised.__cause__ else None)
        own = [frame for frame in frames if frame.filename.startswith(_PACKAGE)]
        lines = dict.fromkeys(f"{frame.filename}:{frame.lineno} ({frame.name})" for frame in (*frames[-1:], *own[-1:]))
        return f"{what} at {' called from '.join(lines)}"
    return None
