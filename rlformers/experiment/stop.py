"""Stopping between two chunks when asked to, so that a run can go on from there."""

import os
import signal
import threading
from types import FrameType
from typing import Any

# sysexits.h: "temporary failure; the user is invited to retry". Schedulers requeue on it.
EXIT_CODE = 75


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, has saved its state, and can be resumed."""


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
