"""What the code of a user raised on the host, as that code's own traceback. Imports no JAX.

A callback that fails reaches Python as an error of the compiled program, whose text holds the frames of JAX and of this
package around the few that matter. So the failure is kept here, and found again by its number in that text.
"""

import itertools
import logging
import traceback
from collections import OrderedDict

MOST_KEPT = 8
_numbers = itertools.count(1)
_kept: OrderedDict[str, str] = OrderedDict()
LIBRARIES = (
    "/jax/",
    "/jaxlib/",
    "/jaxtyping/",
    "/beartype/",
    "<@beartype",
    "/gymnasium/core.py",
    "/gymnasium/wrappers/",
)
OURS = (*LIBRARIES, "/envs/adapters/host/")


class HostError(RuntimeError):
    """An environment on the host has raised something; the message has its traceback."""


def _is_news(record: logging.LogRecord) -> bool:
    """JAX logs what a callback raises, with all its frames; of ours the error itself says it."""
    return not (record.exc_info and isinstance(record.exc_info[1], HostError))


logging.getLogger("jax._src.callback").addFilter(_is_news)


def keep(env_id: str, error: Exception, during: str) -> HostError:
    """Keep a failure, and make the error that stands for it on its way through the compiled program.

    Args:
        env_id: The environment.
        error: What was raised.
        during: What it was to do, e.g. "step".
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not any(part in frame.filename for part in OURS)]
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(own)] if own else []
    lines += traceback.format_exception_only(error)
    text = f"env: gymnasium/{env_id} failed in {during}:\n{''.join(lines)}".rstrip()
    mark = f"[host failure {next(_numbers)}]"
    _kept[mark] = text
    while len(_kept) > MOST_KEPT:
        _kept.popitem(last=False)
    return HostError(f"{mark} {text}")


def host_failure(error: BaseException) -> str | None:
    """The traceback of the code of a user that is behind an error of a program; None if none is."""
    message = str(error)
    return next((text for mark, text in _kept.items() if mark in message), None)
