"""`RUN_DIR/error.txt`: the tracebacks of errors in code outside the library, such as a user's own."""

import contextlib
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from rlformers.envs.adapters.host import host_failure
from rlformers.errors import Complaint, first_line, foreign, named_line

NAME = "error.txt"


@contextlib.contextmanager
def noting_errors(run_dirs: Sequence[Path], doing: str) -> Iterator[None]:
    """Write the traceback of an error into the directories of its runs, and raise it again."""
    try:
        yield
    except Exception as error:
        note(error, run_dirs, doing)
        raise


def note(error: Exception, run_dirs: Sequence[Path], doing: str) -> None:
    """Append the traceback of an error to `error.txt` of some runs. The library's own errors are not written.

    If no file can be written, `traceback_file` returns None, and `described` shows the traceback.

    Args:
        error: The error.
        run_dirs: The directories of the runs. Others are left alone.
        doing: The command, for the heading: "train".
    """
    if foreign(error) is None or traceback_file(error) is not None:
        return
    text = f"== {time.strftime('%Y-%m-%d %H:%M:%S')}, {doing}, process {os.getpid()}\n{formatted(error)}\n"
    for run_dir in run_dirs:
        with contextlib.suppress(OSError):
            if (run_dir / "config.yaml").is_file():
                with (run_dir / NAME).open("a") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                error.traceback_file = run_dir / NAME  # type: ignore[attr-defined]


def traceback_file(error: BaseException) -> Path | None:
    """The file with the traceback of an error; None if it was not written."""
    return getattr(error, "traceback_file", None)


def formatted(error: BaseException) -> str:
    """The traceback of an error and of its causes. An error of an environment on the host has that of its own code."""
    failure = host_failure(error)
    return f"{failure}\n" if failure else "".join(traceback.format_exception(error))


def described(error: BaseException, named: bool = False) -> tuple[str, str]:
    """One line about an error, and the traceback to show with it: empty if a file has it or none is needed.

    Args:
        error: An error of the library, or any other.
        named: Also name the type of the library's own errors.
    """
    own = isinstance(error, Complaint)
    line = first_line(error) if own and not named else named_line(error)
    if foreign(error) is None:
        return line, ""
    file = traceback_file(error)
    return (f"{line}; traceback in {file}", "") if file else (line, formatted(error))
