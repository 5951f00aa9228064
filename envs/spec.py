"""One line of the registry of environments, and what is known about its returns.

Imports neither jax nor gymnax, and nothing of the other files here: catalogues import this file, the registry imports
the catalogues, and `scores`, which looks up what is known, imports the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rlformers.errors import UserError

# What the end of an episode that is truncated is to the learner, see `time_limits.TruncationTerminates`.
TRUNCATIONS = ("bootstraps", "terminates")


class Published(NamedTuple):
    """A return that somebody reported."""

    who: str  # method, a word or two
    value: float
    source: str  # publication and protocol
    same_rules: bool = True  # no: the source says which rules were others, and `Scores.best` leaves it out


class Played(NamedTuple):
    """A return that a policy in this repository reaches, which does not know what is hidden."""

    who: str
    value: float
    source: str = ""  # where the policy is, how exact the number


class Scores(NamedTuple):
    """What is known about the returns of an environment in one configuration; None: unknown."""

    random: float | None = None  # uniformly random actions
    memoryless: float | None = None  # the best policy that sees the last observation only
    ceiling: float | None = None  # the best policy, or a bound
    ceiling_of: str = "optimum"  # whose return or bound the ceiling is
    published: tuple[Published, ...] = ()
    played: tuple[Played, ...] = ()

    @property
    def best(self) -> float | None:
        """The best return that is known to be reached by who does not know what is hidden; None: no such is known.

        The optimum, or else the largest of what was played here and what was published under the same rules, but not
        more than a ceiling that nobody played: published scores are read from figures.
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
        """Return between normalised 0 and 1; None where there is no such scale."""
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


class Entry(NamedTuple):
    """An environment by name, and what `rlformers list envs` says about it."""

    name: str  # suite/Name
    summary: str  # what it asks for and thereby tests
    target: str | Callable[..., Any]  # "module:constructor", imported on first use, or the constructor itself
    kwargs: dict[str, Any] = {}  # arguments that the name stands for; `env_kwargs` override them
    previous_action: bool = False  # show the agent its last action and a start flag
    length: str = ""  # steps of an episode, "51", or from the fewest to the most, "1-14"
    best: str = ""  # return of the best policy without knowledge of what is hidden, or what is known about it
    scores: Callable[..., Scores] | None = None  # what is known about returns, see `scores.known_scores`
    truncation: str = "bootstraps"  # at time limits; "terminates": the horizon belongs to the task (not of trials)
    extra: str = ""  # optional dependencies that it needs: pip install 'rlformers[extra]'
