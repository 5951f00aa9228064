"""The options of PPO, and those that a compiled program takes as arguments. Imports no jax."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from rlformers.errors import UserError


def require(ok: bool, key: str, allowed: str, value: object) -> None:
    """Check a value.

    Raises:
        UserError: `ok` is false; the line names the key, what is allowed, and what was given.
    """
    if not ok:
        raise UserError(f"{key}: need {allowed}, got {value!r}")


@dataclass(frozen=True)
class PPOConfig:
    """Proximal policy optimisation (Schulman et al. 2017) over whole sequences."""

    lr: float = 1e-3
    anneal_lr: bool = True  # linearly to 0 over total_steps
    warmup: float = 0.0  # fraction of total_steps over which lr rises linearly to its schedule
    num_envs: int = 64  # B
    num_steps: int = 128  # T: steps of each environment between two updates
    num_minibatches: int = 8
    update_epochs: int = 4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_eps: float = 0.2
    clip_eps_high: float | None = None  # for ratios above 1 (DAPO, Yu et al. 2025); default: clip_eps
    clip_value: bool = False  # also clip the change of the value to clip_eps; it stops critics with large targets
    ent_coef: float = 0.05
    anneal_ent: bool = True  # linearly to 0 over total_steps
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    adam_b1: float = 0.9
    adam_b2: float = 0.999
    adam_eps: float = 1e-5
    weight_decay: float = 0.0  # on matrices, decoupled from the gradient (AdamW, Loshchilov & Hutter 2019)
    normalize_advantages: bool = True  # per minibatch
    target_kl: float = 0.0  # above this KL, skip the other minibatches of the iteration; 0: never
    reward_scale: float = 1.0
    normalize_rewards: bool = True  # divide by a running standard deviation of the discounted return
    normalize_observations: bool = False  # by a running mean and variance; for observations that are vectors
    bptt_length: int = 0  # steps that gradients flow back through; 0: all num_steps
    burn_in: int = 0  # steps before a sequence that warm up its memory, without loss or gradient
    refresh_memory: bool = False  # before every epoch, recompute the memories that sequences start from
    core_lr_scale: float = 1.0  # learning rate of state-space parameters, relative to lr

    def __post_init__(self) -> None:
        for name in ("num_envs", "num_steps", "num_minibatches", "update_epochs"):
            require(getattr(self, name) >= 1, f"ppo.{name}", "at least 1", getattr(self, name))
        for name in ("gamma", "gae_lambda", "warmup"):
            require(0 <= getattr(self, name) <= 1, f"ppo.{name}", "0 to 1", getattr(self, name))
        for name in ("adam_b1", "adam_b2"):
            require(0 <= getattr(self, name) < 1, f"ppo.{name}", "0 to less than 1", getattr(self, name))
        for name in ("lr", "clip_eps", "max_grad_norm", "reward_scale", "adam_eps"):
            require(0 < getattr(self, name) < float("inf"), f"ppo.{name}", "a positive number", getattr(self, name))
        high = self.clip_eps_high
        require(high is None or 0 < high < float("inf"), "ppo.clip_eps_high", "a positive number", high)
        for name in ("ent_coef", "vf_coef", "target_kl", "core_lr_scale", "weight_decay"):
            require(0 <= getattr(self, name) < float("inf"), f"ppo.{name}", "0 or more", getattr(self, name))
        require(self.bptt_length >= 0, "ppo.bptt_length", "0 or more", self.bptt_length)
        length = self.sequence_length
        if self.num_steps % length:
            raise UserError(f"ppo.bptt_length: {length} does not divide ppo.num_steps={self.num_steps}")
        if self.refresh_memory and length == self.num_steps:
            raise UserError(
                "ppo.refresh_memory: need ppo.bptt_length < ppo.num_steps, else there is nothing to refresh"
            )
        require(0 <= self.burn_in < length, "ppo.burn_in", f"0 to {length - 1} (less than a sequence)", self.burn_in)
        sequences = self.num_envs * (self.num_steps // length)
        if sequences % self.num_minibatches:
            raise UserError(
                f"ppo.num_envs: {self.num_envs} environments make {sequences} sequences, "
                f"which ppo.num_minibatches={self.num_minibatches} does not divide"
            )

    @property
    def sequence_length(self) -> int:
        """Number of steps of a sequence that are trained on."""
        return self.bptt_length or self.num_steps


class Numbers(NamedTuple):
    """Hyper-parameters that change no shape and no operation: arguments of a compiled update.

    Each is a number, or an array [] that may be traced. Under vmap, the agents of one program
    differ in them.
    """

    lr: Any
    gamma: Any
    gae_lambda: Any
    clip_eps: Any
    clip_eps_high: Any
    ent_coef: Any
    vf_coef: Any
    max_grad_norm: Any
    adam_b1: Any
    adam_b2: Any
    adam_eps: Any
    weight_decay: Any
    target_kl: Any
    reward_scale: Any
    core_lr_scale: Any
    warmup: Any
    num_updates: Any  # in the whole training; the schedules run over it

    @classmethod
    def of(cls, config: PPOConfig, num_updates: int) -> "Numbers":
        """The numbers of a configuration."""
        values = {name: getattr(config, name) for name in cls._fields if name != "num_updates"}
        if config.clip_eps_high is None:
            values["clip_eps_high"] = config.clip_eps
        return cls(**values, num_updates=num_updates)


NUMBER_KEYS = tuple(f"ppo.{name}" for name in Numbers._fields if name != "num_updates")


def check_alike(configs: Sequence[PPOConfig]) -> None:
    """Check that configurations differ only in `Numbers`.

    Raises:
        UserError: They differ in something else.
    """
    for item in fields(PPOConfig):
        column = [getattr(config, item.name) for config in configs]
        alike = item.name in Numbers._fields or len(set(column)) == 1
        require(alike, f"ppo.{item.name}", "one value for all runs of a program", column)
