"""The library's own errors, and one-line descriptions of errors in other code."""

import sysconfig
import traceback
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)
_PYTHON = sysconfig.get_path("stdlib")
_INSTALLED = ("site-packages", "dist-packages")
# Packages that call the code of others for us: their frames in a traceback say nothing about who
# failed.
_TOOLS = ("beartype", "equinox", "hydra", "jax", "jaxtyping", "omegaconf")


class Complaint(Exception):
    """The library's own error: its line says everything. Every other error keeps its traceback."""


class UserError(Complaint, ValueError):
    """The input cannot be used: one line that names the key, what was given and what is allowed.

    The command line prints the line alone and exits with 2.
    """


class CodeError(UserError):
    """Code outside the library has failed: a plug-in, an environment, a core of the user.

    The line says what failed. The cause is the error itself. The command line shows its traceback
    too, and exits with 1.
    """


class FileError(Complaint, OSError):
    """A file of a run cannot be written or read: one line that names the file. The command line exits with 1."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}" if self.filename else super().__str__()


def first_line(error: BaseException) -> str:
    """The message of an error, without the lines of advice and traces that packages add.

    The text of an error in a callback is a traceback. Its last line is the message.
    """
    lines = str(error).strip().splitlines() or [""]
    return lines[-1].strip() if "Traceback (most recent call last)" in str(error) else lines[0]


def named_line(error: BaseException) -> str:
    """`first_line` after the type of the error."""
    line = first_line(error)
    callback = "Traceback (most recent call last)" in str(error)  # its last line has the type of the error itself
    return line if callback else f"{type(error).__name__}: {line}".removesuffix(": ")


def foreign(error: BaseException) -> BaseException | None:
    """The error of code outside the library, whose traceback matters; None for a complaint of the library.

    For a complaint about other code (`CodeError`), or one that it caused, this is the error of that
    code.
    """
    if not isinstance(error, Complaint):
        return error
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, CodeError):
            return inner.__cause__ or inner
        inner = inner.__cause__
    return None


def is_of_others(error: BaseException, installed: bool = True) -> bool:
    """Whether an error was raised in code outside the library and Python, or is a syntax error in it.

    Args:
        error: The error as it was caught.
        installed: Whether installed packages count as such code.
    """
    if isinstance(error, SyntaxError):
        return True

    def other(file: str) -> bool:
        if file.startswith((_PACKAGE, "<frozen", "<@beartype", "<string>")):
            return False
        parts = Path(file).parts
        for folder in _INSTALLED:
            if folder in parts[:-1]:
                return installed and parts[parts.index(folder) + 1] not in _TOOLS
        return not file.startswith(_PYTHON)

    return any(other(frame.filename) for frame in traceback.extract_tb(error.__traceback__))


def complaint(message: str, error: BaseException, installed: bool = True) -> UserError:
    """The error to raise after a call of other code failed: a `CodeError`, with traceback, if that code raised it."""
    own = isinstance(error, Complaint) or not is_of_others(error, installed)
    return (UserError if own else CodeError)(message)
