"""Which options of PPO are compared, alone and together, for which cores."""

import functools
from dataclasses import replace

from rlformers.config.ppo import Numbers, PPOConfig

CORES = {"gru": {}, "gtrxl": {"memory": 3, "heads": 2}}
# Everything that can be off is off. The ratio is clipped after the first steps.
PLAIN = PPOConfig(
    num_envs=4,
    num_steps=9,
    num_minibatches=2,
    update_epochs=2,
    lr=5e-3,
    gamma=0.9,
    gae_lambda=0.8,
    clip_eps=0.01,
    normalize_rewards=False,
    normalize_advantages=False,
    anneal_lr=False,
    anneal_ent=False,
    max_grad_norm=100.0,
    adam_eps=1e-2,  # the default, 1e-5, makes of rounding errors of small gradients steps of another size
)
CHUNKS = {"bptt_length": 3}
OPTIONS = {
    "clip_value": {"clip_value": True},
    "bptt_length": CHUNKS,
    "burn_in, one sequence": {"burn_in": 2},
    "burn_in": CHUNKS | {"burn_in": 2},
    "refresh_memory": CHUNKS | {"refresh_memory": True},
    "target_kl": {"target_kl": 1e-5},
    "normalize_rewards": {"normalize_rewards": True, "reward_scale": 3.0},
    "normalize_observations": {"normalize_observations": True},
    "normalize_advantages": {"normalize_advantages": True},
    "anneal_lr": {"anneal_lr": True},
    "anneal_ent": {"anneal_ent": True},
    "warmup": {"warmup": 0.6},
    "weight_decay": {"weight_decay": 0.1},
    "clip_eps_high": {"clip_eps_high": 0.03},
    "adam": {"adam_b1": 0.8, "adam_b2": 0.99, "adam_eps": 3e-2},
    "max_grad_norm": {"max_grad_norm": 0.05},
    "masks": {"masked": True},
}
ALL = functools.reduce(dict.__or__, OPTIONS.values())
CASES = OPTIONS | {
    "none": {},
    "burn_in, refresh_memory": OPTIONS["burn_in"] | OPTIONS["refresh_memory"],
    "all but target_kl": ALL | {"target_kl": 0.0},
    "all but refresh_memory": ALL | {"refresh_memory": False},
    "all but target_kl, refresh_memory": ALL | {"target_kl": 0.0, "refresh_memory": False},
}
FAST = [
    ("gru", "none"),
    ("gru", "all but refresh_memory"),  # one program with the next
    ("gru", "all but target_kl, refresh_memory"),
    ("gru", "refresh_memory"),  # alone: beside the small steps of the others, old memories differ by less than 1e-5
    ("gtrxl", "all but target_kl"),
]


def static(config):
    """The configuration of which programs are compiled: numbers are arguments."""
    return replace(PLAIN, **{k: v for k, v in vars(config).items() if k not in Numbers._fields})


def split(case):
    """Whether there are masks, and the configuration."""
    options = {"masked": False} | CASES[case]
    return options.pop("masked"), replace(PLAIN, **options)
