"""Wrappers: each keeps the protocol, and all compose. They are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlformers.envs.wrappers.agent_inputs import EpisodeStart, PreviousAction, RewardInput
    from rlformers.envs.wrappers.episode_statistics import EpisodeStatistics
    from rlformers.envs.wrappers.flatten import Flatten, OneHot
    from rlformers.envs.wrappers.partial_observability import (
        Delay,
        Flicker,
        FrameDrop,
        Mask,
        Noise,
        PeriodicObservation,
    )
    from rlformers.envs.wrappers.random_projection import RandomProjection
    from rlformers.envs.wrappers.time_limits import TimeLimit, TruncationTerminates
    from rlformers.envs.wrappers.timing import ActionRepeat, RewardDelay
    from rlformers.envs.wrappers.trial import Trial

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
]

_names = {
    "agent_inputs": ("EpisodeStart", "PreviousAction", "RewardInput"),
    "episode_statistics": ("EpisodeStatistics",),
    "flatten": ("Flatten", "OneHot"),
    "partial_observability": ("Delay", "Flicker", "FrameDrop", "Mask", "Noise", "PeriodicObservation"),
    "random_projection": ("RandomProjection",),
    "time_limits": ("TimeLimit", "TruncationTerminates"),
    "timing": ("ActionRepeat", "RewardDelay"),
    "trial": ("Trial",),
}
_homes = {name: f"rlformers.envs.wrappers.{module}" for module, names in _names.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _homes:
        return getattr(import_module(_homes[name]), name)
    raise AttributeError(f"module 'rlformers.envs.wrappers' has no attribute {name!r}")
