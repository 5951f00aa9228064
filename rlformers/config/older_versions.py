"""What saved configurations mean that an older version wrote. Runs go on, and are evaluated, as they were."""

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

# Keys that they may lack, with what was done then.
KEYS = {"wrap.truncation": "bootstraps"}

# Arguments of environments whose default has changed, by id, with what it was before there was `trial`.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "meta/Alchemy": {"split": "all"},
    "meta/ProjectedCartPole": {"max_steps_in_episode": 50},
    "xland/XLand-*": {"split": "all"},
    "xland/Meta-*": {"split": "all"},
}


def meanings(saved: Any) -> dict[str, Any]:
    """Values, by key, of what a saved configuration does not say.

    Args:
        saved: Its keys with their values.
    """
    found: dict[str, Any] = dict(KEYS)
    if isinstance(saved, Mapping) and "trial" not in saved:
        env = str(saved.get("env"))
        found["env_kwargs"] = {
            k: v for id_, kwargs in ARGUMENTS.items() if fnmatch(env, id_) for k, v in kwargs.items()
        }
    return found
