"""What packages register and we leave out, and why: the reasons are shown for an unknown id. A `*` ends a name."""

from __future__ import annotations

import fnmatch

_EVERY_AGENT = "every agent has a reward of its own"

LEFT_OUT = {
    "brax/swimmer": "brax 0.14.2 cannot step it with jax 0.10 (it calls jax.numpy.clip with a_min)",
    "jumanji/Connector-v3": _EVERY_AGENT,
    "jumanji/LevelBasedForaging-v0": _EVERY_AGENT,
    "jumanji/SearchAndRescue-v0": _EVERY_AGENT,
    "jumanji/MultiCVRP-v0": "its actions are integers in a box, whose mask leaves out one of their values",
    "jumanji/Sokoban-v0": "it downloads its levels on first use",
    "navix/KeyCorridor*": "in navix 0.7.4 its doors are parts of walls, and the locked one counts as open",
}


def why_left_out(env_id: str) -> str:
    """The reason, or "" of an id that the packages do not have or that is not left out."""
    return next((reason for pattern, reason in LEFT_OUT.items() if fnmatch.fnmatchcase(env_id, pattern)), "")
