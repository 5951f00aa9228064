"""The configuration of an experiment. Importing it imports neither jax nor Hydra."""

from rlformers.config.options import CheckConfig, EvaluateConfig, InspectConfig, PlayConfig, WatchConfig
from rlformers.config.ppo import PPOConfig
from rlformers.config.schema import (
    ACTIVATIONS,
    COMPUTE_DTYPES,
    CRITICS,
    FINAL_NORMS,
    POLICIES,
    RUN_KEYS,
    WANDB_MODES,
    CheckpointConfig,
    CoreConfig,
    EncoderConfig,
    EvalConfig,
    ExperimentConfig,
    ModelConfig,
    WandbConfig,
    WrapConfig,
)

__all__ = [
    "ACTIVATIONS",
    "COMPUTE_DTYPES",
    "CRITICS",
    "FINAL_NORMS",
    "POLICIES",
    "RUN_KEYS",
    "WANDB_MODES",
    "CheckConfig",
    "CheckpointConfig",
    "CoreConfig",
    "EncoderConfig",
    "EvalConfig",
    "EvaluateConfig",
    "ExperimentConfig",
    "InspectConfig",
    "ModelConfig",
    "PPOConfig",
    "PlayConfig",
    "WandbConfig",
    "WatchConfig",
    "WrapConfig",
]
