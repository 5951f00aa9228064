"""Evaluation of a run's agents: fresh episodes, on the environment they were trained on or another one."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from omegaconf import OmegaConf

from rlformers.agents.normalizers import Normalizers
from rlformers.agents.ppo import TrainState
from rlformers.change import apply, change
from rlformers.compose import load
from rlformers.config import EvaluateConfig, ExperimentConfig
from rlformers.experiment.build import Built, build, check_spaces
from rlformers.experiment.checkpoint import Checkpoint, best_of, good_checkpoints, read
from rlformers.experiment.compilation_cache import enable_compilation_cache
from rlformers.experiment.player import Player
from rlformers.experiment.results import summarise
from rlformers.experiment.run_dir import write_json
from rlformers.schema import typed_options

# Sets the random numbers of evaluations apart from those of training, which come from key(seed).
EVALUATION = 0x5EED


def evaluate(run_dir: Path | str, words: Sequence[str] = ()) -> dict[str, Any]:
    """Play `episodes` episodes with the agent of every training seed, all seeds in one program.

    Normalisers stay as they are in the checkpoint. A copy of the environment plays a number of episodes that is fixed
    beforehand, so that short ones are not preferred.

    Args:
        run_dir: A run directory with checkpoints; the run may still be training.
        words: As on the command line: `episodes=1000`, `greedy=true`, ... (`EvaluateConfig`), and changes of the
            environment (`env=...`, `env_kwargs.split=heldout`, `env_params.length=40`, `wrap.noise=0.1`). With another
            `env`, `env_kwargs` and `env_params` of the run are dropped.

    Returns:
        What was asked for and, under `results`, for everything that the environment reports of an episode as
        `info["episode_<name>"]` the mean, IQM and 95 % bootstrap interval: of each training seed over its episodes
        (interval of the mean), and over the means of the seeds (interval of the IQM; None with one seed). What is an
        array, such as the returns of the attempts [K] of a trial, is treated entry by entry. `episodes` has the value
        of every episode. Written to `RUN_DIR/evaluations/<name>.json`.

    Raises:
        ValueError: A key or value that does not exist or fit, an environment with other observations or actions, or a
            directory that cannot be written.
        CheckpointError: No checkpoint can be read.
    """
    enable_compilation_cache()
    run_dir = Path(run_dir)
    options, config = parse_options(run_dir, words)
    built = build(config)
    trained = load(run_dir / "config.yaml")
    if config != trained:
        check_spaces(config.env, build(trained), built)
    checkpoint = _choose(run_dir / "checkpoints", options.checkpoint)
    values = _play(options, config, built, checkpoint)

    step = checkpoint.update * config.batch_size
    result = {
        "run_dir": str(run_dir),
        "core": config.core.name,
        "checkpoint": {"update": checkpoint.update, "step": step},
        "env": config.env,
        "env_kwargs": config.env_kwargs,
        "env_params": config.env_params,
        "wrap": asdict(config.wrap),
        "greedy": options.greedy,
        "seed": options.seed,
        "episodes_per_seed": options.episodes,
        "seeds": list(range(config.seed, config.seed + config.seeds)),
        "results": summarise(values),
        "episodes": {name: array.tolist() for name, array in values.items()},
    }
    path = run_dir / "evaluations" / f"{options.name or _name(words, config.env, step)}.json"
    try:
        path.parent.mkdir(exist_ok=True)
        write_json(path, result)
    except OSError as error:
        raise ValueError(f"evaluate: cannot write {path}: {error.strerror}") from error
    return result | {"path": path}


def parse_options(run_dir: Path, words: Sequence[str]) -> tuple[EvaluateConfig, ExperimentConfig]:
    """How to evaluate, and the experiment with the environment to do it in.

    Raises:
        ValueError: One line that names the key.
    """
    config = load(run_dir / "config.yaml")
    env = [word for word in words if re.match(r"\+*env=", word)]
    details = [word for word in words if re.match(r"\+*(env_kwargs|env_params|wrap)\.", word)]
    changed = change(config, env) if env else config
    if changed.env != config.env:
        changed = replace(changed, env_kwargs={}, env_params={})
    node = typed_options(EvaluateConfig)
    apply(node, [word for word in words if word not in env + details])
    options: Any = OmegaConf.to_container(node)
    return EvaluateConfig(**options), change(changed, details) if details else changed


def _choose(directory: Path, which: str) -> Checkpoint:
    """The checkpoint that an option names.

    Raises:
        ValueError: There is none, or it is damaged.
    """
    good = good_checkpoints(directory)
    if which == "last":
        found = next(good, None)
    else:
        by_update = {checkpoint.update: checkpoint for checkpoint in good}
        best = best_of({update: checkpoint.meta for update, checkpoint in by_update.items()})
        found = by_update.get(best if which == "best" else int(which))  # type: ignore[arg-type]
        if found is None and by_update:
            raise ValueError(f"checkpoint: {which!r} is none of last, best, {', '.join(map(str, sorted(by_update)))}")
    if found is None:
        raise ValueError(f"evaluate: no checkpoint in {directory}")
    return found


def _play(
    options: EvaluateConfig, config: ExperimentConfig, built: Built, checkpoint: Checkpoint
) -> dict[str, np.ndarray]:
    """What every episode came to, [S, N, ...] by name.

    Raises:
        ValueError: Episodes do not end.
    """
    seeds = jnp.arange(config.seed, config.seed + config.seeds)
    full = jax.eval_shape(jax.vmap(built.learner.init), jax.vmap(jax.random.key)(seeds))
    moments = full.normalizers.observation if config.ppo.normalize_observations else None
    nothing = TrainState(*[None] * len(TrainState._fields))  # type: ignore[arg-type]
    template = nothing._replace(agent=full.agent, normalizers=Normalizers(moments, None, None))  # type: ignore[arg-type]
    state = read(checkpoint, template, partial=True)

    key = jax.random.fold_in(jax.random.key(options.seed), EVALUATION)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, seeds)
    player = Player(config, built, options.episodes, options.num_envs, options.greedy)
    return player(state.agent, state.normalizers.observation, keys)


def _name(words: Sequence[str], env: str, step: int) -> str:
    asked = sorted(word.lstrip("+") for word in words if not re.match(r"\+*env=", word))
    name = re.sub(r"[^\w.=-]+", "-", "_".join([env, *asked, f"step={step}"]))
    return name if len(name) <= 150 else f"{name[:130]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
