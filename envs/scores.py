"""What a return can be measured against: chance, agents without memory, the best policy, published scores.

Imports neither jax nor gymnax. What is known stands in the catalogues' `scores`, what chance earns in
`random_returns.json` (see `random_returns.py`).
"""

import contextlib
import inspect
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from rlformers.envs.registry import BUILT_IN, entries, load, whole
from rlformers.envs.spec import Entry, Played, Published, Scores
from rlformers.errors import UserError

__all__ = ["Played", "Published", "Scores", "known_scores", "stored_random_returns"]


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
    entry = entries().get(env)
    if entry is None or wrap:
        return None
    if env not in BUILT_IN and entry.scores is None:
        with contextlib.suppress(UserError):  # a report needs no plug-in that is no longer there
            entry = whole(entry)
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
    try:
        return {name: argument.default for name, argument in inspect.signature(load(entry)).parameters.items()}
    except ValueError:
        return {}
