"""Errors of orbax, which writes in threads of its own: the caller gets each as an exception, and prints one line.

On a full disk, orbax also logs a hundred lines per save (absl, with tracebacks). Tensorstore prints
the errors of callbacks into event loops that the first failure has closed.
"""

import logging
import os
import re
import sys
import threading
from functools import cache
from typing import Any


@cache
def silence() -> None:
    """Keep orbax from logging the errors that it raises, in the whole process: its threads outlive a failed call."""
    logging.getLogger("absl").addFilter(
        lambda record: record.levelno < logging.ERROR or "/orbax/" not in record.pathname
    )
    complain = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        error = unraisable.exc_value
        closed = isinstance(error, RuntimeError) and str(error) == "Event loop is closed"
        if not closed or threading.current_thread() is threading.main_thread():
            complain(unraisable)

    sys.unraisablehook = hook


def reason(error: Exception) -> str:
    """Why files could not be written, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # An error of tensorstore is half a page of paths with the error number of the operating system.
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else (str(error).splitlines() or [type(error).__name__])[0]
