"""Names in `info` that belong to the learner and to wrappers, and that no environment may report."""

from collections.abc import Iterable

from rlformers.errors import UserError

# `episode_count` is how many episodes ended in an update. The others are made by EpisodeStatistics and Trial.
RESERVED = ("episode_count", "episode_return", "episode_length", "episode_task", "episode_attempt_*")


def is_reserved(name: str) -> bool:
    """Whether a name of `info` is one that environments may not use."""
    return name in RESERVED or name.startswith("episode_attempt_")


def refuse_reserved(names: Iterable[str], env: str, allowed: Iterable[str] = ()) -> None:
    """Check what an environment reports.

    Args:
        names: Of its info.
        env: Its name.
        allowed: What wrappers of it report rightly.

    Raises:
        UserError: A reserved name; one line.
    """
    taken = sorted(name for name in names if is_reserved(name) and name not in allowed)
    if taken:
        raise UserError(f"env: {env} reports info[{taken[0]!r}], a name of the learner's own: {', '.join(RESERVED)}")
