"""`RUN_DIR/error.txt`: the tracebacks of errors in code that is not the library's, such as that of a user."""

import contextlib
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from rlformers.envs.adapters.host_failures import host_failure
from rlformers.errors import Complaint, first_line, foreign, named_line

NAME = "error.txt"


@contextlib.contextmanager
def noting_errors(run_dirs: Sequence[Path], doing: str) -> Iterator[None]:
    """Write the traceback of an error into the directories of the runs that it belongs to, and let it pass."""
    try:
        yield
    except Exception as error:
        note(error, run_dirs, doing)
        raise


def note(error: Exception, run_dirs: Sequence[Path], doing: str) -> None:
    """Append the traceback of an error to `error.txt` of some runs; a complaint of the library has none.

    Where a file cannot be written, whoever shows the error finds no `traceback_file`, and shows the traceback.

    Args:
        error: What was raised.
        run_dirs: The directories of runs. What is none is left alone.
        doing: What was being done, for the heading: "train".
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
    """Where the traceback of an error was written, if it was."""
    return getattr(error, "traceback_file", None)


def formatted(error: BaseException) -> str:
    """The traceback of an error, and those of its causes; of an environment on the host, that of its own code."""
    failure = host_failure(error)
    return f"{failure}\n" if failure else "".join(traceback.format_exception(error))


def described(error: BaseException, named: bool = False) -> tuple[str, str]:
    """One line about an error, and the traceback that has to be shown beside it, if it is not in a file.

    Args:
        error: A complaint of the library, or anything else.
        named: Put the type before a complaint as well.
    """
    own = isinstance(error, Complaint)
    line = first_line(error) if own and not named else named_line(error)
    if foreign(error) is None:
        return line, ""
    file = traceback_file(error)
    return (f"{line}; traceback in {file}", "") if file else (line, formatted(error))
