"""Stopping between two chunks when asked to, so that a run can go on from there."""

import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

# sysexits.h: "temporary failure; the user is invited to retry". Schedulers requeue on it.
EXIT_CODE = 75


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, has saved its state, and can be resumed."""


class StopRequest:
    """While it is entered, SIGINT and SIGTERM only set `received`; a second one raises KeyboardInterrupt.

    One that is entered inside another shares its request: a sweep and the run that it is at stop together. Python
    delivers signals to its main thread only; in another one nothing is caught.

    Args:
        announce: A file that a signal creates, for other processes, on other machines too.
        watch: A file of `announce`; it is a request as long as it exists.
    """

    _entered: ClassVar["StopRequest | None"] = None  # the innermost one of the main thread

    def __init__(self, announce: Path | None = None, watch: Path | None = None) -> None:
        self._signalled = self._asked = False
        self._announce, self._watch = announce, watch
        self._looked = float("-inf")
        self._outer: StopRequest | None = None
        self._previous: dict[int, Any] = {}

    @property
    def received(self) -> bool:
        """Whether a stop is requested. Looks at the watched file once a second at most."""
        if self._signalled or (self._outer is not None and self._outer.received):
            return True
        if self._watch is not None and time.monotonic() - self._looked >= 1:
            self._looked = time.monotonic()
            self._asked = self._watch.exists()
        return self._asked

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._outer, StopRequest._entered = StopRequest._entered, self
            if self._outer is None:
                numbers = (signal.SIGINT, signal.SIGTERM)
                self._previous = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        if StopRequest._entered is self:
            StopRequest._entered = self._outer
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = True
        # Not print: the signal may have come in the middle of one.
        os.write(2, f"\n{signal.Signals(number).name}: saving; once more to stop at once\n".encode())
        if self._announce is not None:
            self._announce.touch()
