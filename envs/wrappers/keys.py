"""The keys of wrappers and trials: names, types, defaults and help of `wrap.*` and `trial.*`, in one place.

`rlformers.config` makes them part of an experiment, and `keywords` builds what they say. Imports no
jax.
"""

from dataclasses import dataclass, field
from typing import Any

# What a trial may tell the agent of the step before.
INPUTS = ("previous_action", "previous_reward", "episode_end", "trial_start")


@dataclass(frozen=True)
class ProjectionConfig:
    """Sensors and motors that nobody has seen before, drawn per episode or trial (`RandomProjection`)."""

    distribution: str | None = None  # orthogonal or gaussian matrices; null: no projection
    observation_size: int | None = None  # numbers that the agent sees; default: as many as there are
    action_size: int | None = None  # continuous actions of the agent; default: as many as there are
    project_actions: bool = True  # or permute discrete ones


@dataclass(frozen=True)
class WrapConfig:
    """Wrappers around the environment, in this order from the inside out (`keywords.wrap` adds them)."""

    action_repeat: int = 1  # repeat every action this many times
    time_limit: int | None = None  # truncate after this many steps of the agent
    mask: Any = None  # entries of the observation to hide: a list of indices, velocities or positions
    projection: ProjectionConfig = field(default_factory=ProjectionConfig)  # of what the mask leaves
    noise: float = 0.0  # standard deviation of Gaussian noise on the observation
    delay: int = 0  # observations arrive this many steps late
    frame_drop: float = 0.0  # probability that an observation is replaced by the last one seen
    flicker: float = 0.0  # probability of a blank observation
    period: int = 1  # show every period-th observation; the others are blank
    flag: bool = False  # tell the agent which observations are old or blank
    reward_delay: int = 0  # rewards arrive this many steps late, the rest at the end of the episode
    truncation: str | None = (
        None  # at a time limit the value counts (bootstraps) or is 0 (terminates); null: as the task
    )
    previous_action: bool = False  # show the agent its last action; popgym environments always do
    reward_input: bool = False  # show the agent its last reward
    episode_start: bool = False  # mark the first observation of an episode


@dataclass(frozen=True)
class TrialConfig:
    """Several episodes of an environment as one, through which the memory lasts (`Trial`, docs/meta-rl.md).

    Trials go around the wrappers up to `wrap.reward_delay`. An environment that plays trials by
    itself takes these keys as `env_kwargs`.
    """

    episodes: int | None = None  # a trial terminates after this many; null, with steps: no trials
    steps: int | None = None  # a trial ends after this many, wherever its episode stands
    truncate: bool = False  # it is truncated by steps, instead of terminated
    inner_reset: str = "resample"  # the start of every episode, or all of a trial from the same
    inputs: list[str] = field(default_factory=lambda: list(INPUTS))  # what the agent sees of the step before
