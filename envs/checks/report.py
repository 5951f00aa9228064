"""Points and reports."""

from typing import NamedTuple


class Point(NamedTuple):
    """One point of a report."""

    name: str
    failure: str = ""  # one line; empty: it holds
    note: str = ""  # what was seen, or why it could not be looked at

    def __str__(self) -> str:
        words = self.failure or self.note
        return f"{'FAIL' if self.failure else 'ok  '}  {self.name}{f': {words}' if words else ''}"


class Report(NamedTuple):
    """What `check` found. It prints as a line per point."""

    env: str
    points: tuple[Point, ...]

    @property
    def ok(self) -> bool:
        """Whether every point holds."""
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """A line for every point that does not."""
        return tuple(f"{point.name}: {point.failure}" for point in self.points if point.failure)

    def __str__(self) -> str:
        return "\n".join([self.env, *(f"  {point}" for point in self.points)])


class Broken(Exception):
    """A point does not hold."""


def require(holds: object, failure: str) -> None:
    """Raise `Broken` unless a condition holds."""
    if not holds:
        raise Broken(failure)
