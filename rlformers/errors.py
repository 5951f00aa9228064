"""The errors that are the library's own, and those of other packages in one line."""


class UserError(ValueError):
    """What was given cannot be used: one line that names the key, what was given and what is allowed.

    The command line prints the line alone and exits with 2. Every other exception keeps its traceback.
    """


class FileError(OSError):
    """A file of a run cannot be written or read: one line that names the file. The command line exits with 1."""


def first_line(error: BaseException) -> str:
    """What an error says, without the lines of advice and traces that packages add."""
    return (str(error).splitlines() or [""])[0]


def named_line(error: BaseException) -> str:
    """The same behind the error's type."""
    return f"{type(error).__name__}: {first_line(error)}"
