"""What a key that does not exist may mean: a name of another library, or a misspelling."""

import difflib
from collections.abc import Iterable

_DEVICE = "the environment variable JAX_PLATFORMS=cpu|cuda chooses the device, CUDA_VISIBLE_DEVICES=0 the GPU"

# Names that users of other libraries type, with our key, or what to do instead.
ELSEWHERE = {
    **dict.fromkeys(("lr", "learning_rate", "step_size"), "ppo.lr"),
    **dict.fromkeys(("lr_anneal", "anneal", "lr_schedule", "use_linear_lr_decay"), "ppo.anneal_lr"),
    **dict.fromkeys(
        ("n_steps", "nsteps", "rollout_length", "rollout_len", "unroll_length", "horizon"), "ppo.num_steps"
    ),
    **dict.fromkeys(("rollout_fragment_length", "n_rollout_steps"), "ppo.num_steps"),
    **dict.fromkeys(("n_envs", "nenvs", "num_workers", "num_env", "num_parallel_envs"), "ppo.num_envs"),
    **dict.fromkeys(("n_epochs", "num_epochs", "epochs", "num_sgd_iter", "ppo_epoch"), "ppo.update_epochs"),
    **dict.fromkeys(("n_minibatches", "nminibatches", "num_batches", "batch_size"), "ppo.num_minibatches"),
    **dict.fromkeys(("minibatch_size", "minibatches", "num_mini_batch", "sgd_minibatch_size"), "ppo.num_minibatches"),
    **dict.fromkeys(("clip_range", "clip_coef", "clip_param", "clip", "cliprange", "epsilon"), "ppo.clip_eps"),
    **dict.fromkeys(("clip_range_vf", "clip_vloss", "vf_clip_param", "clip_vf"), "ppo.clip_value"),
    **dict.fromkeys(("ent_coeff", "entropy_coef", "entropy_coeff", "entropy_cost", "ent_weight"), "ppo.ent_coef"),
    **dict.fromkeys(("vf_coeff", "value_coef", "vf_loss_coeff", "value_loss_coef", "critic_coef"), "ppo.vf_coef"),
    **dict.fromkeys(("max_grad", "grad_clip", "clip_grad_norm", "max_gradient_norm"), "ppo.max_grad_norm"),
    **dict.fromkeys(("discount", "discount_factor", "discounting"), "ppo.gamma"),
    **dict.fromkeys(("lambda", "lam", "lambda_", "gae_lam", "tau"), "ppo.gae_lambda"),
    **dict.fromkeys(("norm_adv", "normalize_advantage", "standardize_advantages"), "ppo.normalize_advantages"),
    **dict.fromkeys(("norm_obs", "normalize_obs", "normalize_observation"), "ppo.normalize_observations"),
    **dict.fromkeys(("norm_reward", "normalize_reward"), "ppo.normalize_rewards"),
    **dict.fromkeys(("kl_target", "desired_kl"), "ppo.target_kl"),
    **dict.fromkeys(("total_timesteps", "timesteps", "num_timesteps", "total_time_steps", "steps"), "total_steps"),
    **dict.fromkeys(("max_steps", "num_env_steps", "total_env_steps", "n_timesteps"), "total_steps"),
    **dict.fromkeys(("hidden_size", "hidden_dim", "d_model", "embed_dim", "model_dim", "features"), "model.width"),
    **dict.fromkeys(("n_layers", "n_layer", "layers", "depth", "nlayers"), "model.num_layers"),
    **dict.fromkeys(("n_heads", "num_heads", "n_head", "nhead"), "core.heads"),
    **dict.fromkeys(("dtype", "precision", "mixed_precision"), "model.compute_dtype"),
    **dict.fromkeys(("env_id", "env_name", "environment", "task", "gym_id", "env_kind"), "env"),
    **dict.fromkeys(("env_config", "env_args", "environment_kwargs"), "env_kwargs"),
    **dict.fromkeys(("cell", "rnn", "rnn_type", "memory", "architecture", "backbone", "arch", "network"), "core"),
    **dict.fromkeys(("random_seed", "rng_seed"), "seed"),
    **dict.fromkeys(("num_seeds", "n_seeds", "num_trials"), "seeds"),
    **dict.fromkeys(("log_dir", "output_dir", "logdir", "save_dir", "out_dir", "save_path", "exp_dir"), "run_dir"),
    **dict.fromkeys(("log_interval", "log_freq", "logging_steps", "log_frequency"), "log_every"),
    **dict.fromkeys(("eval_freq", "eval_interval", "evaluation_interval", "eval_every"), "eval.every"),
    **dict.fromkeys(("n_eval_episodes", "eval_episodes", "num_eval_episodes"), "eval.episodes"),
    **dict.fromkeys(("save_freq", "save_interval", "checkpoint_interval", "checkpoint_freq"), "checkpoint.every"),
    **dict.fromkeys(("project", "project_name", "wandb_project", "wandb_project_name"), "wandb.project"),
    **dict.fromkeys(("wandb_entity", "team"), "wandb.entity"),
    **dict.fromkeys(("wandb_group", "exp_name", "experiment_name", "run_name"), "wandb.group"),
    **dict.fromkeys(("track", "use_wandb", "wandb_mode"), "wandb.mode"),
    **dict.fromkeys(("tensorboard_log", "use_tensorboard", "tb"), "tensorboard"),
    **dict.fromkeys(("device", "devices", "gpu", "gpus", "cuda", "use_cuda", "accelerator", "platform"), _DEVICE),
    **dict.fromkeys(("algo", "algorithm", "agent"), "the only algorithm is PPO (ppo.*); core=NAME chooses the memory"),
    **dict.fromkeys(("resume_from", "restore", "load_path", "load_checkpoint"), "resume=RUN_DIR continues a run"),
}


def unknown(key: str, known: Iterable[str]) -> str:
    """The error about a key that does not exist, with a hint at what may be meant."""
    known = list(known)
    siblings = [name for name in known if name.startswith("core.")] if key.startswith("core.") else []
    allowed = f" of this core, which has {', '.join(siblings) or 'no options'}" if key.startswith("core.") else ""
    return f"{key}: unknown key{allowed}{hint(key, siblings or known, known)}"


def hint(word: str, near: Iterable[str], known: Iterable[str] = ()) -> str:
    """`; did you mean 'ppo.lr'?`, or nothing.

    Args:
        word: What was given.
        near: Names that it may be a misspelling of.
        known: Keys that names of other libraries may mean.
    """
    near, known = list(near), list(known)
    last = word.lower().replace("-", "_").split(".")[-1]
    found = ELSEWHERE.get(last, "") if known else ""
    if found and " " in found:
        return f"; {found}"
    if found not in (*known, "core") or not found:
        same = [name for name in [*near, *known] if name.split(".")[-1] == last]
        found = next(iter([*same, *difflib.get_close_matches(word, near, n=1, cutoff=0.5)]), "")
    return f"; did you mean {found!r}?" if found else ""
