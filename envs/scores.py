"""What a return can be measured against: chance, agents without memory, the best policy, published scores.

Imports neither jax nor gymnax. What is known stands in the catalogues' `scores`, what chance earns in
`random_returns.json` (see `chance.py`).
"""

import inspect
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, NamedTuple

from rlformers.envs.spec import Entry
from rlformers.errors import UserError


class Published(NamedTuple):
    """A return that somebody reported."""

    who: str  # method, a word or two
    value: float
    source: str  # publication and protocol


class Scores(NamedTuple):
    """What is known about the returns of an environment in one configuration; None: unknown."""

    random: float | None = None  # uniformly random actions
    memoryless: float | None = None  # the best policy that sees the last observation only
    ceiling: float | None = None  # the best policy, or a bound
    ceiling_of: str = "optimum"  # whose return or bound the ceiling is
    published: tuple[Published, ...] = ()

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


def stored_random_returns() -> dict[str, dict[str, float]]:
    """Mean return of random actions and its standard error, of environments in their default configuration."""
    file = files("rlformers.envs").joinpath("random_returns.json")
    return json.loads(file.read_text()) if file.is_file() else {}


def known_scores(
    env: str,
    env_kwargs: Mapping[str, Any] | None = None,
    env_params: Mapping[str, Any] | None = None,
    wrap: Mapping[str, Any] | None = None,
) -> Scores | None:
    """What is known about an environment in a configuration; None where nothing is.

    A catalogue's `scores` is a function of those arguments and parameters that change the returns in a known way. A
    configuration that sets another one to something else than its default, or any other field of its params, or wraps
    the environment, has no scores.

    Args:
        env: An id; one that is not registered here has no scores.
        env_kwargs: Arguments of its constructor, as in an experiment's configuration.
        env_params: Fields of its params.
        wrap: Keys of `config.WrapConfig` that differ from their defaults.
    """
    from rlformers.envs.registry import entries

    entry = entries().get(env)
    if entry is None or wrap:
        return None
    known = set(inspect.signature(entry.scores).parameters) if entry.scores else set()
    given = {key: value for key, value in (env_kwargs or {}).items() if not _same(value, entry.kwargs.get(key, ...))}
    if not set(given) <= known:
        defaults = _defaults(entry) | entry.kwargs
        given = {key: value for key, value in given.items() if not _same(value, defaults.get(key, ...))}
    given |= env_params or {}
    if not set(given) <= known:
        return None
    scores = entry.scores(**given) if entry.scores else Scores()
    stored = stored_random_returns().get(env)
    if scores.random is None and stored and not given:
        scores = scores._replace(random=stored["mean"])
    return None if scores == Scores() else scores


def _same(given: Any, meant: Any) -> bool:
    """Whether a value says what another one says; configurations have lists where the code has tuples."""
    return list(given) == list(meant) if isinstance(given, list) and isinstance(meant, tuple) else given == meant


def _defaults(entry: Entry) -> dict[str, Any]:
    """Of the arguments of its constructor, which is imported; none where its package is not installed."""
    from rlformers.envs.registry import load

    try:
        return {name: argument.default for name, argument in inspect.signature(load(entry)).parameters.items()}
    except ValueError:
        return {}
