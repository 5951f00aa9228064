"""Lets a signal end a run at once while XLA compiles: before the first update there is nothing to save.

Python runs signal handlers between two instructions, and compiling is one call that can take
minutes. Therefore it runs in a thread, and the main thread waits where a signal can interrupt it.
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
    """Call a function, but do not wait for its end if a stop is requested.

    Args:
        function: Runs in a thread of its own, with the caller's default device. After a stop it
            keeps running.
        stop: The request to look at.
        doing: What the function does, for the message: "compiling".

    Returns:
        What the function returns. Its errors are raised.

    Raises:
        Interrupted: A stop was requested.
    """
    if threading.current_thread() is not threading.main_thread():
        return function()
    ended, outcome = threading.Event(), dict[str, Any]()
    config: Any = jax.config
    device, no_jit = config.jax_default_device, config.jax_disable_jit

    def work() -> None:
        try:
            with ExitStack() as settings:  # these belong to a thread
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
                raise Interrupted(f"stopped while {doing}, with nothing to save; run the same command again")
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]


def _abandon(thread: threading.Thread) -> None:
    if not _abandoned:
        atexit.register(_leave)
    _abandoned.append(thread)


def _leave() -> None:
    """End the process while a thread is still in XLA: the normal exit would wait for XLA, or crash in its clean-up."""
    if any(thread.is_alive() for thread in _abandoned):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_CODE)
