"""What an environment may call the numbers that it reports in `info`; some names are the learner's and of wrappers."""

from collections.abc import Iterable, Mapping
from typing import Any

from rlformers.errors import UserError

# `episode_count` is how many episodes ended in an update. The others are made by EpisodeStatistics and Trial.
RESERVED = ("episode_count", "episode_return", "episode_length", "episode_task", "episode_attempt_*")


def is_reserved(name: str) -> bool:
    """Whether a name of `info` is one that environments may not use."""
    return name in RESERVED or name.startswith("episode_attempt_")


def check_names(info: Mapping[str, Any], env: str, allowed: Iterable[str] = ()) -> None:
    """Check that no name of what an environment reports means something else.

    Args:
        info: What it reports, of arrays or `jax.ShapeDtypeStruct`s.
        env: Its name.
        allowed: What wrappers of it report rightly.

    Raises:
        UserError: A name is reserved, or two would be one in `metrics.jsonl`; one line that says which.
    """
    own = {name: value for name, value in info.items() if name not in set(allowed)}
    taken = sorted(name for name in own if is_reserved(name))
    if taken:
        raise UserError(
            f"env: {env} reports info[{taken[0]!r}], a name of the learner's own: {', '.join(RESERVED)}; "
            "give it another name"
        )
    columns: dict[str, str] = {}
    for name, value in own.items():
        if not name.startswith("episode_"):
            continue
        shape: tuple[int, ...] = getattr(value, "shape", ())
        for column in [f"{name}_{k}" for k in range(1, shape[0] + 1)] if len(shape) == 1 else [name]:
            if column in columns:
                both = f"info[{columns[column]!r}] and info[{name!r}]"
                shown = column.replace("episode_", "episode/", 1)
                raise UserError(f"env: {env} reports {both}, which would both be {shown}; rename one")
            columns[column] = name
