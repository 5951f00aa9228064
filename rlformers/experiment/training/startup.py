"""Until the first update has been made there is nothing to save: a signal ends a run at once, whatever XLA is at.

Handlers of signals run between two lines of Python, and compiling is one call that can take minutes. So it is made in
a thread, and the main thread waits where it can be interrupted.
"""

import atexit
import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

import jax

from rlformers.experiment.training.stop_request import EXIT_CODE, Interrupted, StopRequest

Result = TypeVar("Result")
_abandoned: list[threading.Thread] = []


def interruptibly(function: Callable[[], Result], stop: StopRequest, doing: str) -> Result:
    """What a function returns or raises, unless a stop is requested before it ends.

    Args:
        function: Called in a thread of its own, with the caller's default device; it goes on if it is abandoned.
        stop: The request to look at.
        doing: What it does, for the message: "compiling".

    Raises:
        Interrupted: A stop is requested.
    """
    if threading.current_thread() is not threading.main_thread():
        return function()
    ended, outcome = threading.Event(), dict[str, Any]()
    config: Any = jax.config
    device, no_jit = config.jax_default_device, config.jax_disable_jit

    def work() -> None:
        try:
            with ExitStack() as settings:  # those that are of a thread
                settings.enter_context(jax.default_device(device))
                if no_jit:
                    settings.enter_context(jax.disable_jit())
                outcome["result"] = function()
        except BaseException as error:
            outcome["error"] = error
        ended.set()

    thread = threading.Thread(target=work, name=doing, daemon=True)
    with stop.nothing_to_save():
        thread.start()
        while not ended.wait(0.2):
            if stop.received:
                _abandon(thread)
                raise Interrupted(f"stopped while {doing}, with nothing to save; the same command begins or goes on")
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]


def _abandon(thread: threading.Thread) -> None:
    if not _abandoned:
        atexit.register(_leave)
    _abandoned.append(thread)


def _leave() -> None:
    """End the process although a thread is still in XLA, whose own clean-up would wait for it, or crash."""
    if any(thread.is_alive() for thread in _abandoned):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_CODE)
