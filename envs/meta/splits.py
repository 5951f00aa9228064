"""Whether an evaluation on held-out tasks is one: the split that environments are built with.

An environment has a split if its constructor has an argument `split` (docs/meta-rl.md has the table of them). Where
that may be None, the constructor has an argument `tasks`, too: then those are played, and without them split=train.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from rlformers.envs.registry import entries, load, whole
from rlformers.envs.spec import Entry


def split_of(env: str, env_kwargs: Mapping[str, Any]) -> str | None:
    """The split that an environment is built with; None if it has none or `tasks`, or is not registered by this id."""
    entry = entries().get(env)
    if entry is None:
        return None
    entry = whole(entry)
    parameter = inspect.signature(load(entry)).parameters.get("split")
    if parameter is None:
        return None
    given = {"split": parameter.default, **entry.kwargs, **env_kwargs}
    return "train" if given["split"] is None and given.get("tasks") is None else given["split"]


def overlap(trained_env: str, trained_kwargs: Mapping[str, Any], env: str, env_kwargs: Mapping[str, Any]) -> str | None:
    """One line if an agent is to play held-out tasks of which it may have been trained on some; else None."""
    played_by, trained_by = entries().get(env), entries().get(trained_env)
    if played_by is None or trained_by is None or not _same_tasks(played_by, trained_by):
        return None
    trained = split_of(trained_env, trained_kwargs)
    if split_of(env, env_kwargs) != "heldout" or trained == "train":
        return None
    if trained is None:
        return "env_kwargs.split: trained with env_kwargs.tasks, which may be tasks of split=heldout"
    return (
        f"env_kwargs.split: trained with split={trained}, which has the tasks of split=heldout too; "
        "train with env_kwargs.split=train to hold them out"
    )


def _same_tasks(first: Entry, second: Entry) -> bool:
    """Whether two entries draw from the same tasks: by one constructor, which one of them may play in trials."""
    if first.target == second.target:
        return True
    first_made, second_made = (load(entry) for entry in (first, second))
    return getattr(first_made, "trials_of", first_made) == getattr(second_made, "trials_of", second_made)
