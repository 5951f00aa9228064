"""Points and reports."""

import dataclasses
from typing import NamedTuple


class Point(NamedTuple):
    """One point of a report."""

    name: str
    failure: str = ""  # one line; empty: it holds
    note: str = ""  # what was seen, or why the point could not be checked
    traceback: str = ""  # of what the environment raised

    def __str__(self) -> str:
        words = self.failure or self.note
        return f"{'FAIL' if self.failure else 'ok  '}  {self.name}{f': {words}' if words else ''}"


@dataclasses.dataclass(frozen=True)
class Report:
    """What `check` found. It prints as a line per point, and is true if every point holds."""

    env: str
    points: tuple[Point, ...]

    @property
    def ok(self) -> bool:
        """Whether every point holds."""
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """A line for every point that does not hold."""
        return tuple(f"{point.name}: {point.failure}" for point in self.points if point.failure)

    @property
    def tracebacks(self) -> tuple[str, ...]:
        """The traceback of every error that the environment raised."""
        return tuple(point.traceback for point in self.points if point.traceback)

    def raise_for_failures(self) -> None:
        """Do nothing if every point holds.

        Raises:
            AssertionError: A point does not hold. The message is the id and a line for each such
                point.
        """
        if self.failures:
            raise AssertionError("\n".join([self.env, *(f"  {failure}" for failure in self.failures)]))

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:  # what pytest shows of `assert check(env)`
        return f"<{self.env}: {'; '.join(self.failures) or f'{len(self.points)} points hold'}>"

    def __str__(self) -> str:
        return "\n".join([self.env, *(f"  {point}" for point in self.points)])


class Broken(Exception):
    """A point does not hold."""


def require(holds: object, failure: str) -> None:
    """Raise `Broken` unless a condition holds."""
    if not holds:
        raise Broken(failure)
