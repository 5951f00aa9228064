"""The errors that are the library's own, and those of other code in one line."""

import sysconfig
import traceback
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)
_PYTHON = sysconfig.get_path("stdlib")
_INSTALLED = ("site-packages", "dist-packages")
# What calls the code of others for us: that it appears in a traceback says nothing.
_TOOLS = ("beartype", "equinox", "hydra", "jax", "jaxtyping", "omegaconf")


class Complaint(Exception):
    """An error of the library's own: its line says all that there is to say. Every other one keeps its traceback."""


class UserError(Complaint, ValueError):
    """What was given cannot be used: one line that names the key, what was given and what is allowed.

    The command line prints the line alone and exits with 2.
    """


class CodeError(UserError):
    """Code that is not the library's own has failed: a plug-in, an environment, a core of the user.

    The line says what failed. Its cause is the error itself, whose traceback the command line shows too; it then
    exits with 1.
    """


class FileError(Complaint, OSError):
    """A file of a run cannot be written or read: one line that names the file. The command line exits with 1."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}" if self.filename else super().__str__()


def first_line(error: BaseException) -> str:
    """What an error says, without the lines of advice and traces that packages add.

    An error of a callback arrives with the traceback as its text: then the last line is what it says.
    """
    lines = str(error).strip().splitlines() or [""]
    return lines[-1].strip() if "Traceback (most recent call last)" in str(error) else lines[0]


def named_line(error: BaseException) -> str:
    """The same behind the error's type."""
    line = first_line(error)
    callback = "Traceback (most recent call last)" in str(error)  # its last line has the type of the error itself
    return line if callback else f"{type(error).__name__}: {line}".removesuffix(": ")


def foreign(error: BaseException) -> BaseException | None:
    """The error of code that is not the library's, whose traceback matters; None for a complaint of the library.

    A complaint about other code (`CodeError`) leads to that code's error, also through the complaints around it.
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
    """Whether an error was raised in code that is neither the library's nor Python's, or is a mistake of its syntax.

    Args:
        error: As it was caught.
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
    """What to raise from an error that ended a call of other code: with its traceback, if that code raised it."""
    own = isinstance(error, Complaint) or not is_of_others(error, installed)
    return (UserError if own else CodeError)(message)
