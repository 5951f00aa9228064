"""What errors of other packages say, in one line."""


def first_line(error: BaseException) -> str:
    """What an error says, without the lines of advice and traces that packages add."""
    return (str(error).splitlines() or [""])[0]


def named_line(error: BaseException) -> str:
    """The same behind the error's type."""
    return f"{type(error).__name__}: {first_line(error)}"
