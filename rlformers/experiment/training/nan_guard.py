"""The guard against numbers that are not finite: it stops a run before such a state is saved, and says what came first.

With `debug=true` the operations of an update are checked as well, one by one, and the line of the program is named.
"""

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import checkify

import rlformers
from rlformers.agents.finite import checked
from rlformers.agents.ppo import TrainState
from rlformers.experiment.training.stop_request import Failed

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


class Guard:
    """Looks at the flags of every update.

    Args:
        template: The run's state, leaves [S, ...]; arrays or `jax.ShapeDtypeStruct`s.
        seeds: S training seeds.
        batch_size: Environment steps of an update, per seed.
    """

    def __init__(self, template: TrainState, seeds: Sequence[int], batch_size: int):
        self._names = checked(template)
        self._seeds, self._batch_size = seeds, batch_size

    def check(self, update: int, metrics: dict[str, Any]) -> None:
        """Take the flags out of the metrics of update number `update`.

        Raises:
            Failed: Something is not finite.
        """
        finite: np.ndarray = metrics.pop("finite")  # [S, N]
        causes = self._causes(metrics.pop("error", None))
        if causes:
            self._fail(f"debug: {next(iter(causes.values()))}", update, list(causes))
        failing = np.flatnonzero(~finite.all(1))
        if len(failing):
            name = self._names[int(np.argmin(finite[failing[0]]))]
            self._fail(f"{name} is not finite", update, failing)

    def _causes(self, error: checkify.Error | None) -> dict[int, str]:
        """What checks say, in one line, by the index of the seed."""
        if error is None:
            return {}
        texts = [_cause(jax.tree.map(lambda x, i=i: x[i], error)) for i in range(len(self._seeds))]
        return {i: text for i, text in enumerate(texts) if text}

    def _fail(self, what: str, update: int, which: Sequence[int] | np.ndarray) -> None:
        raise Failed(what, update, update * self._batch_size, [self._seeds[i] for i in which])


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
