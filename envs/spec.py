"""One line of the registry of environments, and what is known about its returns.

Imports neither jax nor gymnax, and no other file of `envs/`: the catalogues import this file, the
registry imports the catalogues, and `scores`, which looks up what is known, imports the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rlformers.errors import UserError

# What a truncation means to the learner, see `time_limits.TruncationTerminates`.
TRUNCATIONS = ("bootstraps", "terminates")


class Published(NamedTuple):
    """A return that a publication reports."""

    who: str  # method, a word or two
    value: float
    source: str  # publication and protocol
    same_rules: bool = True  # False: `source` says which rules differed, and `Scores.best` ignores it


class Played(NamedTuple):
    """A return that a policy of this repository reaches without knowing what is hidden."""

    who: str
    value: float
    source: str = ""  # where the policy is, and how exact the number is


class Scores(NamedTuple):
    """What is known about the returns of an environment in one configuration; None: unknown."""

    random: float | None = None  # uniformly random actions
    memoryless: float | None = None  # the best policy that sees the last observation only
    ceiling: float | None = None  # the best policy, or a bound
    ceiling_of: str = "optimum"  # whose return the ceiling is, or "bound"
    published: tuple[Published, ...] = ()
    played: tuple[Played, ...] = ()
    bound: float | None = None  # what nobody exceeds, where `ceiling` is a return that somebody reached

    @property
    def in_words(self) -> str:
        """What `rlformers list envs` says about the best return: a number, "A to B", or "at most B"."""
        if self.ceiling is None:
            return "" if self.best is None else _number(self.best)
        ceiling = _number(self.ceiling)
        if self.ceiling_of == "optimum":
            return ceiling
        if self.ceiling in [score.value for score in self.played]:
            return ceiling if self.bound is None else f"{ceiling} to {_number(self.bound)}"
        if self.best is None:
            return f"at most {ceiling}" if self.ceiling_of == "bound" else f"{ceiling} ({self.ceiling_of})"
        return ceiling if self.best == self.ceiling else f"{_number(self.best)} to {ceiling}"

    @property
    def best(self) -> float | None:
        """The best return that anyone is known to reach without knowing what is hidden; None if none is known.

        The optimum if it is known. Else the largest return that was played here or published under
        the same rules, but never more than a ceiling that nobody reached, because published scores
        are read from figures.
        """
        if self.ceiling is not None and self.ceiling_of == "optimum":
            return self.ceiling
        values = [score.value for score in self.played]
        is_bound = self.ceiling is not None and self.ceiling not in values
        values += [score.value for score in self.published if score.same_rules]
        if not values:
            return None
        return min(max(values), self.ceiling) if is_bound else max(values)  # type: ignore[type-var]

    @property
    def zero(self) -> float | None:
        """Of normalised returns: `random`, or `memoryless` where that is unknown."""
        return self.memoryless if self.random is None else self.random

    @property
    def span(self) -> float | None:
        """The return between normalised 0 and 1; None if there is no such scale."""
        if self.zero is None or self.ceiling is None or self.ceiling <= self.zero:
            return None
        return self.ceiling - self.zero

    def normalise(self, value: float) -> float:
        """0 for `zero`, 1 for `ceiling`.

        Raises:
            UserError: One of them is unknown.
        """
        if self.zero is None or self.span is None:
            raise UserError(f"no scale: zero is {self.zero}, ceiling is {self.ceiling}")
        return (value - self.zero) / self.span


def _number(value: float) -> str:
    return f"{value:.4g}"


class Entry(NamedTuple):
    """An environment by name, and what `rlformers list envs` says about it."""

    name: str  # suite/Name
    summary: str  # what it asks for
    target: str | Callable[..., Any]  # "module:constructor", imported on first use, or the constructor itself
    kwargs: dict[str, Any] = {}  # arguments that belong to the id; `env_kwargs` override them
    previous_action: bool = False  # show the agent its last action and a start flag
    length: str = ""  # steps of an episode, "51", or from the fewest to the most, "1-14"
    best: str = ""  # words about the best return, where `scores` does not say it
    scores: Callable[..., Scores] | None = None  # what is known about returns, see `scores.known_scores`
    truncation: str = "bootstraps"  # at time limits; "terminates": the horizon belongs to the task (not for trials)
    extra: str = ""  # optional dependencies that it needs: pip install 'rlformers[extra]'

    @property
    def best_in_words(self) -> str:
        """`best`, or what `scores` say about the default configuration."""
        return self.best or (self.scores().in_words if self.scores else "")
