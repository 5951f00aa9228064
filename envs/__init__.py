"""Environments: the gymnax 1.x protocol, ports, probes and wrappers. `registry` names them without importing them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlformers.envs.checks.check import check
    from rlformers.envs.flatten import Flatten, OneHot
    from rlformers.envs.meta.random_projection import RandomProjection
    from rlformers.envs.meta.trial import Trial
    from rlformers.envs.pace import ActionRepeat, RewardDelay
    from rlformers.envs.partial import Delay, Flicker, FrameDrop, Mask, Noise, PeriodicObservation
    from rlformers.envs.wrappers import (
        EpisodeStart,
        EpisodeStatistics,
        PreviousAction,
        RewardInput,
        TimeLimit,
        TruncationTerminates,
    )

__all__ = [
    "ActionRepeat",
    "Delay",
    "EpisodeStart",
    "EpisodeStatistics",
    "Flatten",
    "Flicker",
    "FrameDrop",
    "Mask",
    "Noise",
    "OneHot",
    "PeriodicObservation",
    "PreviousAction",
    "RandomProjection",
    "RewardDelay",
    "RewardInput",
    "TimeLimit",
    "Trial",
    "TruncationTerminates",
    "check",
]

_names = {
    "checks.check": ("check",),
    "flatten": ("Flatten", "OneHot"),
    "meta.random_projection": ("RandomProjection",),
    "meta.trial": ("Trial",),
    "pace": ("ActionRepeat", "RewardDelay"),
    "partial": ("Delay", "Flicker", "FrameDrop", "Mask", "Noise", "PeriodicObservation"),
    "wrappers": (
        *("EpisodeStart", "EpisodeStatistics", "PreviousAction", "RewardInput", "TimeLimit", "TruncationTerminates"),
    ),
}
_homes = {name: f"rlformers.envs.{module}" for module, names in _names.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import public names on first use: they need jax, which takes seconds."""
    if name in _homes:
        return getattr(import_module(_homes[name]), name)
    raise AttributeError(f"module 'rlformers.envs' has no attribute {name!r}")
