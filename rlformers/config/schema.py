"""The schema of an experiment: every key a user can set, with its type and default.

Importing this module imports neither jax nor Hydra. The dataclasses check their values when they
are made. What depends on the environment or the core is checked by `experiment/program/build.py`.
"""

import math
import os
from dataclasses import dataclass, field, replace
from typing import Any

from rlformers.config.options import require_checkpoint, require_seed
from rlformers.config.ppo import PPOConfig, require
from rlformers.errors import UserError

POLICIES = ("auto", "categorical", "gaussian", "tanh_gaussian")
COMPUTE_DTYPES = ("float32", "tfloat32", "bfloat16")
FINAL_NORMS = ("layer", "rms", "none")
ACTIVATIONS = ("relu", "leaky_relu", "tanh", "gelu", "silu")
CRITICS = ("scalar", "hl_gauss")
WANDB_MODES = ("auto", "online", "offline", "disabled")
TRIAL_INPUTS = ("previous_action", "previous_reward", "episode_end", "trial_start")
# Keys that say how a run is run rather than what it computes.
RUN_KEYS = (
    "run_dir",
    "seeds_at_a_time",
    "chunk_seconds",
    "stop",
    "retry",
    "debug",
    "checkpoint",
    "tensorboard",
    "wandb",
)


@dataclass(frozen=True)
class CoreConfig:
    """A core by name, with the options that its own config dataclass declares and checks."""

    name: str = "gru"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EncoderConfig:
    """What the encoder reads."""

    ignore: list[str] = field(default_factory=list)  # parts of the observation to leave out: names, or paths "a/b"

    def __post_init__(self) -> None:
        names = isinstance(self.ignore, list | tuple) and all(isinstance(name, str) for name in self.ignore)
        require(names, "model.encoder.ignore", "a list [...] of strings", self.ignore)


@dataclass(frozen=True)
class ModelConfig:
    """The agent around the core."""

    width: int = 64  # D: encoder, core, and hidden layers of actor and critic
    num_layers: int = 1  # L: depth of the core
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    encoder_layers: int = 1  # dense layers before the core
    head_layers: int = 1  # hidden layers of actor and critic
    activation: str = "relu"  # in encoder, actor and critic: relu, leaky_relu, tanh, gelu or silu
    final_norm: str = "layer"  # between core and heads, the same for every core: layer, rms or none
    policy: str = "auto"  # auto: categorical for discrete actions, gaussian for boxes
    log_std: float = -0.5  # initial log standard deviation of a gaussian policy
    log_std_min: float = -20.0  # lower bound of the log standard deviation
    log_std_max: float = 2.0  # upper bound of the log standard deviation
    critic: str = "scalar"  # hl_gauss: a distribution over bins, learned by cross-entropy (Farebrother et al. 2024)
    value_bins: int = 101  # number of bins of hl_gauss, evenly spaced in symlog(value)
    value_limit: float = 1000.0  # the largest value that the bins of hl_gauss cover
    compute_dtype: str = "float32"  # type of matrix products; states, sums and parameters stay float32

    def __post_init__(self) -> None:
        for name in ("width", "num_layers", "encoder_layers"):
            require(getattr(self, name) >= 1, f"model.{name}", "at least 1", getattr(self, name))
        require(self.head_layers >= 0, "model.head_layers", "0 or more", self.head_layers)
        require(self.value_bins >= 3, "model.value_bins", "at least 3", self.value_bins)
        require(0 < self.value_limit < float("inf"), "model.value_limit", "a positive number", self.value_limit)
        for name, allowed in (
            ("policy", POLICIES),
            ("compute_dtype", COMPUTE_DTYPES),
            ("final_norm", FINAL_NORMS),
            ("activation", ACTIVATIONS),
            ("critic", CRITICS),
        ):
            value = getattr(self, name)
            require(value in allowed, f"model.{name}", f"one of {', '.join(allowed)}", value)
        low, high = self.log_std_min, self.log_std_max
        require(
            -100 <= low <= high <= 100, "model.log_std_min", f"-100 to model.log_std_max={high}, itself <= 100", low
        )
        require(low <= self.log_std <= high, "model.log_std", f"{low} to {high}", self.log_std)


@dataclass(frozen=True)
class ProjectionConfig:
    """Sensors and motors that nobody has seen before, drawn per episode or trial (`RandomProjection`)."""

    distribution: str | None = None  # orthogonal or gaussian matrices; null: no projection
    observation_size: int | None = None  # numbers that the agent sees; default: as many as there are
    action_size: int | None = None  # continuous actions of the agent; default: as many as there are
    project_actions: bool = True  # or permute discrete ones


@dataclass(frozen=True)
class WrapConfig:
    """Wrappers around the environment, in this order from the inside out (`envs/wrappers/keywords.py`)."""

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
        None  # bootstraps: the value at a time limit counts; terminates: it is 0; null: as the task
    )
    previous_action: bool = False  # show the agent its last action; popgym environments always do
    reward_input: bool = False  # show the agent its last reward
    episode_start: bool = False  # mark the first observation of an episode


@dataclass(frozen=True)
class TrialConfig:
    """Several episodes of an environment as one, through which the memory lasts (`Trial`, docs/meta-rl.md).

    Around what `wrap.reward_delay` and the keys before it make of the environment. Those that play trials by themselves
    take these keys as `env_kwargs`.
    """

    episodes: int | None = None  # a trial terminates after this many; null, with steps: no trials
    steps: int | None = None  # a trial ends after this many, wherever its episode stands
    truncate: bool = False  # it is truncated by steps, instead of terminated
    inner_reset: str = "resample"  # the start of every episode, or all of a trial from the same
    inputs: list[str] = field(default_factory=lambda: list(TRIAL_INPUTS))  # what the agent sees of the step before


@dataclass(frozen=True)
class WandbConfig:
    """Weights & Biases: one run per seed, in one group."""

    mode: str = "auto"  # auto: online with a key, else offline
    project: str | None = None  # default: WANDB_PROJECT, else rlformers
    entity: str | None = None  # default: WANDB_ENTITY, else the entity of the API key
    group: str | None = None  # default: WANDB_RUN_GROUP, else environment and date; all runs of a --multirun share it
    tags: list[str] = field(default_factory=list)  # default: WANDB_TAGS, separated by commas
    checkpoints: bool = False  # upload the last and the best checkpoint as artifacts when training ends

    def __post_init__(self) -> None:
        require(self.mode in WANDB_MODES, "wandb.mode", f"one of {', '.join(WANDB_MODES)}", self.mode)


@dataclass(frozen=True)
class CheckpointConfig:
    """Checkpoints. The last state of a run is always saved."""

    every: float = 60.0  # seconds of training between two checkpoints; 0: only the last state
    keep: int = 3  # number of newest checkpoints to keep, besides the best one
    keep_every: float = 0.0  # keep the checkpoints at multiples of this many environment steps forever; 0: none

    def __post_init__(self) -> None:
        require(self.every >= 0, "checkpoint.every", "0 or more seconds", self.every)
        require(self.keep >= 1, "checkpoint.keep", "at least 1", self.keep)
        whole = self.keep_every >= 0 and self.keep_every == int(self.keep_every)
        require(whole, "checkpoint.keep_every", "a whole number of environment steps", self.keep_every)


@dataclass(frozen=True)
class EvalConfig:
    """Evaluation during training, in environments of its own. It does not change training."""

    every: float = 0.0  # environment steps between two evaluations; 0: none
    episodes: int = 100  # exact number of episodes per seed
    greedy: bool = False  # take the most probable action instead of a sampled one
    num_envs: int = 0  # copies of the environment that run at the same time; 0: one per episode, at most 256
    env_params: dict[str, Any] = field(default_factory=dict)  # override those of training, e.g. for longer episodes
    env_kwargs: dict[str, Any] = field(default_factory=dict)  # override those of training, e.g. split=heldout

    def __post_init__(self) -> None:
        whole = self.every >= 0 and self.every == int(self.every)
        require(whole, "eval.every", "a whole number of environment steps", self.every)
        require(self.episodes >= 1, "eval.episodes", "at least 1", self.episodes)
        require(self.num_envs >= 0, "eval.num_envs", "0 or more", self.num_envs)


@dataclass(frozen=True)
class ExperimentConfig:
    """One run: one environment, one core, some seeds."""

    env: str = "popgym/RepeatPreviousEasy"
    env_params: dict[str, Any] = field(default_factory=dict)  # fields of the environment's gymnax params
    env_kwargs: dict[str, Any] = field(default_factory=dict)  # arguments of its constructor
    wrap: WrapConfig = field(default_factory=WrapConfig)
    trial: TrialConfig = field(default_factory=TrialConfig)
    core: CoreConfig = field(default_factory=CoreConfig)  # core=NAME chooses the core, core.OPTION=... its options
    model: ModelConfig = field(default_factory=ModelConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    seed: int = 0
    seeds: int = 1  # number of agents: seed .. seed + seeds - 1, in one program
    seeds_at_a_time: int = 0  # seeds that are computed together, one group after the other; 0: as many as memory holds
    total_steps: float = 1e6  # environment steps per seed, rounded down to whole updates
    stop: dict[str, Any] = field(default_factory=dict)  # return=0.95: end at this mean return over the seeds
    init_from: str | None = None  # run directory: start with the parameters of its agents
    init_checkpoint: str = "last"  # of that run: last, best, or the number of an update
    init_heads: bool = True  # false: take encoder, core and norms only; actor and critic start anew
    init_seed: int | None = None  # training seed to take the agent of; default: i-th for i-th, or all from the first
    chunk_seconds: float = 2.0  # seconds of work between two looks at signals, logs and the progress line
    log_every: int = 0  # updates per line of metrics.jsonl; 0: about 1000 lines per seed at most
    retry: str | None = None  # failed: train again the seeds whose numbers were not finite; not kept in config.yaml
    debug: bool = False  # check every operation of an update, slowly, and name the line at fault
    run_dir: str | None = None  # default: runs/<env>/<core>/<date-time>; a run that exists continues
    eval: EvalConfig = field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    tensorboard: bool = False  # write event files to RUN_DIR/tensorboard; needs the extra [tensorboard]
    wandb: WandbConfig = field(default_factory=WandbConfig)

    def __post_init__(self) -> None:
        if self.run_dir is not None:  # a shell leaves the ~ of run_dir=~/runs as it is
            object.__setattr__(self, "run_dir", os.path.expanduser(self.run_dir))
        if self.init_from is not None:
            # In whatever directory the run is resumed.
            object.__setattr__(self, "init_from", os.path.abspath(os.path.expanduser(self.init_from)))
        require_checkpoint(self.init_checkpoint, "init_checkpoint")
        for name in self.stop:
            require(name == "return", f"stop.{name}", "stop.return", name)
        goal = self.stop.get("return")
        number = isinstance(goal, int | float) and not isinstance(goal, bool) and math.isfinite(goal)
        require(goal is None or number, "stop.return", "a finite number", goal)
        if self.ppo.clip_value and self.model.critic == "hl_gauss":
            raise UserError(
                "ppo.clip_value: need false with model.critic=hl_gauss, which has no single value to clip, got True"
            )
        require(self.seeds >= 1, "seeds", "at least 1", self.seeds)
        require_seed(self.seed)
        require(self.seeds_at_a_time >= 0, "seeds_at_a_time", "0 or more", self.seeds_at_a_time)
        require(self.log_every >= 0, "log_every", "0 or more", self.log_every)
        require(self.retry in (None, "failed"), "retry", "failed", self.retry)
        require(self.chunk_seconds > 0, "chunk_seconds", "a positive number", self.chunk_seconds)
        if self.total_steps != int(self.total_steps):
            raise UserError(f"total_steps: need a whole number, got {self.total_steps!r}")
        if self.total_steps < self.batch_size:
            raise UserError(
                f"total_steps: {int(self.total_steps)} is less than one batch of "
                f"ppo.num_envs x ppo.num_steps = {self.batch_size}"
            )

    @property
    def batch_size(self) -> int:
        """Environment steps of one update, per seed."""
        return self.ppo.num_envs * self.ppo.num_steps

    @property
    def num_updates(self) -> int:
        """Number of iterations of acting and learning."""
        return int(self.total_steps) // self.batch_size

    @property
    def stop_return(self) -> float | None:
        """The mean return at which the run ends early; None: it does not."""
        goal = self.stop.get("return")
        return None if goal is None else float(goal)

    @property
    def updates_per_log_point(self) -> int:
        """Updates between two lines of a seed in `metrics.jsonl`; the last update always has a line."""
        return self.log_every or -(-self.num_updates // 1000)

    @property
    def evaluated(self) -> "ExperimentConfig":
        """This experiment in the environment of its evaluations."""
        return replace(
            self,
            env_kwargs=self.env_kwargs | self.eval.env_kwargs,
            env_params=self.env_params | self.eval.env_params,
        )
