"""Evaluates the agents of a run in fresh episodes, in the environment they were trained on or another one."""

import contextlib
import hashlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PRNGKeyArray

from rlformers.agents.agent import Agent
from rlformers.agents.normalizers import Normalizers
from rlformers.agents.ppo import TrainState
from rlformers.config import EvaluateConfig, ExperimentConfig
from rlformers.config.compose import change, from_dict, from_words, load
from rlformers.envs.meta.splits import overlap
from rlformers.errors import UserError
from rlformers.experiment.checkpoints.resume import changes
from rlformers.experiment.checkpoints.store import Checkpoint, choose, read
from rlformers.experiment.evaluation.all_seeds import Player
from rlformers.experiment.evaluation.episode_statistics import summarise
from rlformers.experiment.program.build import Built, build, check_spaces
from rlformers.experiment.program.xla_cache import enable_compilation_cache
from rlformers.experiment.run_files.run_dir import write_json
from rlformers.experiment.training.failed_seeds import failed_note

# Separates the random numbers of evaluations from those of training, which come from key(seed).
EVALUATION = 0x5EED


class Trained(NamedTuple):
    """The agents of a run, and the environment to play in."""

    options: Any
    config: ExperimentConfig  # with the environment to play in
    built: Built
    checkpoint: Checkpoint
    agents: Agent  # leading axis S, as in moments
    moments: Any  # of the observations; None if they are not normalised

    @property
    def step(self) -> int:
        """Environment steps of each seed before the checkpoint."""
        return self.checkpoint.update * self.config.batch_size


def load_trained(run_dir: Path, words: Sequence[str], schema: type = EvaluateConfig) -> Trained:
    """Read the agents that words of the command line ask for.

    Args:
        run_dir: A run directory with checkpoints; the run may still be training.
        words: Fields of the schema, which has `checkpoint`, and changes of the environment.
        schema: A config dataclass.

    Raises:
        UserError: A key or value that does not exist or fit, or an environment with other
            observations or actions.
        CheckpointError: No checkpoint can be read.
    """
    options, config = parse_options(run_dir, words, schema)
    built = build(config)
    trained = load(run_dir / "config.yaml")
    if config != trained:
        check_spaces(config.env, build(trained), built)
    checkpoint = choose(run_dir / "checkpoints", options.checkpoint)
    begun = checkpoint.meta.get("config")
    if differing := changes(from_dict(begun), trained) if begun else []:
        edited = f"{', '.join(differing[:3])} when {checkpoint.path} was made"
        raise UserError(f"{run_dir / 'config.yaml'} was edited: {edited}; restore it")
    if failed := checkpoint.meta.get("failed"):
        print(f"rlformers: warning: {failed_note(failed)}: using the agent before the failure", file=sys.stderr)
    full = jax.eval_shape(jax.vmap(built.learner.init), training_keys(config))
    moments = full.normalizers.observation if config.ppo.normalize_observations else None
    nothing = TrainState(*[None] * len(TrainState._fields))  # type: ignore[arg-type]
    template = nothing._replace(agent=full.agent, normalizers=Normalizers(moments, None, None))  # type: ignore[arg-type]
    state = read(checkpoint, template, partial=True)
    return Trained(options, config, built, checkpoint, state.agent, state.normalizers.observation)


def training_keys(config: ExperimentConfig) -> Key[Array, " S"]:
    """The keys that the training of each seed starts from, [S]."""
    return jax.vmap(jax.random.key)(jnp.arange(config.seed, config.seed + config.seeds))


def evaluation_key(seed: int, training_seed: Any) -> PRNGKeyArray:
    """The key for the evaluation of the agent of one training seed."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), EVALUATION), training_seed)


def evaluate(
    run_dir: Path | str, words: Sequence[str] = (), show: Callable[[dict[str, Any]], Any] = lambda result: None
) -> dict[str, Any]:
    """Play `episodes` episodes with the agent of every training seed, all seeds in one program.

    Normalisers stay as they are in the checkpoint. Each copy of the environment plays a number of
    episodes that is fixed beforehand, so that short ones are not preferred.

    Args:
        run_dir: A run directory with checkpoints; the run may still be training.
        words: As on the command line: `episodes=1000`, `greedy=true`, ... (`EvaluateConfig`), and
            changes of the environment (`env=...`, `env_kwargs.split=heldout`,
            `env_params.length=40`, `wrap.noise=0.1`, `trial.episodes=10`).
            Another `env` drops the `env_kwargs` and `env_params` of the run.
        show: Gets the result before it is written, so that a full disk does not lose it.

    Returns:
        The settings and the results, which are also in `RUN_DIR/evaluations/<name>.json`. `results`
        has the mean, IQM and 95 % interval `ci95` of everything that the environment reports about
        an episode as `info["episode_<name>"]`: of each training seed over its episodes (interval of
        the mean, None below 20 tasks), and over the means of the seeds (interval of the IQM, None
        below 8 seeds; `range` is that of the seeds). An array, such as the returns of the attempts
        [K] of a trial, is treated entry by entry. `episodes` has the value of every episode.
        `warning` says if held-out tasks were not held out, see `splits.overlap`.

    Raises:
        UserError: A key or value that does not exist or fit, an environment with other observations
            or actions, a directory that cannot be written, or a `name` that an evaluation has
            already.
        CheckpointError: No checkpoint can be read.
    """
    enable_compilation_cache()
    run_dir = Path(run_dir)
    trained, before = load_trained(run_dir, words), load(run_dir / "config.yaml")
    options, config, step = trained.options, trained.config, trained.step
    path = run_dir / "evaluations" / f"{options.name or _name(words, config.env, step)}.json"
    if options.name and path.exists():
        raise UserError(f"name: {path} exists and is not overwritten; give another name=")
    with _writing(path):
        path.parent.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()  # fail now, not after an hour of playing
    values = _play(trained)
    result = {
        "run_dir": str(run_dir),
        "core": config.core.name,
        "checkpoint": {"update": trained.checkpoint.update, "step": step},
        "env": config.env,
        "env_kwargs": config.env_kwargs,
        "env_params": config.env_params,
        "wrap": asdict(config.wrap),
        "trial": asdict(config.trial),
        "warning": overlap(before.env, before.env_kwargs, config.env, config.env_kwargs),
        "greedy": options.greedy,
        "seed": options.seed,
        "episodes_per_seed": options.episodes,
        "seeds": list(range(config.seed, config.seed + config.seeds)),
        "results": summarise(values),
        "episodes": {name: array.tolist() for name, array in values.items()},
    }
    show(result)
    with _writing(path):
        write_json(path, result)
    return result | {"path": path}


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"evaluate: cannot write {path}: {error.strerror}") from error


def parse_options(run_dir: Path, words: Sequence[str], schema: type = EvaluateConfig) -> tuple[Any, ExperimentConfig]:
    """The options, and the experiment with the environment to play in.

    Raises:
        UserError: One line that names the key.
    """
    config = load(run_dir / "config.yaml")
    env = [word for word in words if re.match(r"\+*env=", word)]
    details = [word for word in words if re.match(r"\+*(env_kwargs|env_params|wrap|trial)\.", word)]
    changed = change(config, env) if env else config
    if changed.env != config.env:
        changed = replace(changed, env_kwargs={}, env_params={})
    options: Any = from_words(schema, [word for word in words if word not in env + details])
    return options, change(changed, details) if details else changed


def _play(trained: Trained) -> dict[str, np.ndarray]:
    """The results of every episode, [S, N, ...] by name.

    Raises:
        UserError: Episodes do not end.
    """
    options, config, built, *_ = trained
    seeds = jnp.arange(config.seed, config.seed + config.seeds)
    keys = jax.vmap(evaluation_key, (None, 0))(options.seed, seeds)
    player = Player(config, built, options.episodes, options.num_envs, options.greedy)
    return player(trained.agents, trained.moments, keys)


def _name(words: Sequence[str], env: str, step: int) -> str:
    asked = sorted(word.lstrip("+") for word in words if not re.match(r"\+*env=", word))
    name = re.sub(r"[^\w.=-]+", "-", "_".join([env, *asked, f"step={step}"]))
    return name if len(name) <= 150 else f"{name[:130]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
