"""One line of the registry of environments. Imports neither jax nor gymnax, like the catalogues made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rlformers.envs.scores import Scores


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
    extra: str = ""  # optional dependencies that it needs: pip install 'rlformers[extra]'
