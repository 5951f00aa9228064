"""Why a run ends before its last step: it was asked to, or it computed what is no number."""

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

# sysexits.h: "temporary failure; the user is invited to retry". Schedulers requeue on it.
EXIT_CODE = 75


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, has saved its state, and can be resumed."""


class Failed(ArithmeticError):
    """A run has computed what is no number.

    Args:
        what: "gradient of agent.critic.out.W is not finite".
        update: Number of the update, the first being 1.
        step: Environment steps of each seed up to its end.
        seeds: Of those that are vmapped, the ones it happened to; `what` is about the first.
    """

    def __init__(self, what: str, update: int, step: int, seeds: Sequence[int]):
        others = f" (and of {', '.join(map(str, seeds[1:]))})" if len(seeds) > 1 else ""
        super().__init__(f"{what} in update {update:,}, up to step {step:,}, of seed {seeds[0]}{others}")
        self.details = {"what": what, "update": update, "step": step, "seeds": list(seeds)}

    def leaving(self, run_dir: Path, checkpoint: str | None, debug: bool) -> "Failed":
        """The same with what is left of the run, and what to do."""
        left = f"last good checkpoint {checkpoint}" if checkpoint else "there was no checkpoint yet"
        advice = "" if debug else f"; resume={run_dir} would meet it again: add debug=true to find the line"
        self.args = (f"{self}; {left}{advice}; if training diverged, a new run with a lower ppo.lr may not",)
        return self


class StopRequest:
    """While it is entered, SIGINT and SIGTERM only set `received`; a second one raises KeyboardInterrupt.

    Python delivers signals to its main thread only; in another one nothing is caught.
    """

    def __init__(self) -> None:
        self.received = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.received:
            raise KeyboardInterrupt
        self.received = True
        # Not print: the signal may have come in the middle of one.
        os.write(2, f"\n{signal.Signals(number).name}: saving; once more to stop at once\n".encode())
