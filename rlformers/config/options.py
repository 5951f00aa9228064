"""What commands other than `train` take. Imports no jax and no Hydra."""

from dataclasses import dataclass, field
from typing import Any

from rlformers.config.ppo import require


def require_seed(seed: int) -> None:
    """Check the value of `seed`.

    Raises:
        UserError: jax has no key for it.
    """
    require(0 <= seed < 2**31, "seed", "0 to 2147483647", seed)


def require_checkpoint(which: str, key: str = "checkpoint") -> None:
    """Check the value of an option that chooses a checkpoint.

    Raises:
        UserError: It is not last, best or the number of an update; the line names `key`.
    """
    known = which in ("last", "best") or which.isdecimal()
    require(known, key, "last, best or the number of an update", which)


@dataclass(frozen=True)
class EvaluateConfig:
    """How the agents of a run are evaluated; `env`, `env_*.*`, `wrap.*` and `trial.*` say where."""

    episodes: int = 100  # exact number of episodes per training seed
    greedy: bool = False  # take the most probable action instead of a sampled one
    seed: int = 0  # seed of the evaluation, independent of the random numbers of training
    checkpoint: str = "last"  # last, best, or the number of an update
    num_envs: int = 0  # copies of the environment that run at the same time; 0: one per episode, at most 256
    name: str | None = None  # name of the file in RUN_DIR/evaluations; default: made from the settings

    def __post_init__(self) -> None:
        require(self.episodes >= 1, "episodes", "at least 1", self.episodes)
        require_seed(self.seed)
        require_checkpoint(self.checkpoint)
        require(self.num_envs >= 0, "num_envs", "0 or more", self.num_envs)
        require(self.name is None or self.name.strip("/.") == self.name != "", "name", "a file name", self.name)
        require("/" not in (self.name or ""), "name", "a file name", self.name)


@dataclass(frozen=True)
class WatchConfig:
    """Which episodes of which agent `play` and `inspect` look at; `env`, `env_params.*` and so on say where."""

    agent: int | None = None  # training seed of the agent; default: the first seed of the run
    greedy: bool = False  # take the most probable action instead of a sampled one
    seed: int = 0  # seed of the episodes, independent of the random numbers of training
    checkpoint: str = "last"  # last, best, or the number of an update
    episodes: int = 1  # number of episodes, one after the other
    max_steps: int = 1000  # steps of all episodes together; the rest is cut off
    overwrite: bool = False  # replace files that exist

    def __post_init__(self) -> None:
        require_seed(self.seed)
        require_checkpoint(self.checkpoint)
        require(self.episodes >= 1, "episodes", "at least 1", self.episodes)
        require(self.max_steps >= 1, "max_steps", "at least 1", self.max_steps)


@dataclass(frozen=True)
class PlayConfig(WatchConfig):
    """How episodes are drawn."""

    fps: float = 4.0  # steps per second, one frame each; at most 50

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.fps <= 50, "fps", "more than 0, at most 50", self.fps)


@dataclass(frozen=True)
class InspectConfig(WatchConfig):
    """What to inspect."""

    episodes: int = 2  # number of episodes; the start of the second one must cut all influence
    max_steps: int = 128  # T; computing the influence costs T^2 times the size of the policy


@dataclass(frozen=True)
class CheckConfig:
    """What of an environment is checked."""

    ignore: list[str] = field(default_factory=list)  # parts of the observation that agents are not shown
    env_kwargs: dict[str, Any] = field(default_factory=dict)  # arguments of its constructor
