"""`init_from=RUN_DIR`: a new run begins with the parameters of the agents of another one.

Taken are the parameters and, where observations are normalised, the statistics that the parameters are used to. Adam,
episodes, random numbers and the scale of rewards begin anew. A run that goes on from a checkpoint of its own takes
nothing from others.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from rlformers.agents.normalizers import Normalizers
from rlformers.agents.ppo import TrainState
from rlformers.config import ExperimentConfig
from rlformers.config.compose import load
from rlformers.errors import UserError
from rlformers.experiment.checkpoints.named_arrays import mismatch
from rlformers.experiment.checkpoints.resume import computation
from rlformers.experiment.checkpoints.store import Checkpoint, choose, read, saved_updates
from rlformers.experiment.run_files.summary import read_summary
from rlformers.experiment.training.failed_seeds import failed_note

HEADS = ("actor", "critic", "log_std")


class Source(NamedTuple):
    """The other run."""

    config: ExperimentConfig
    checkpoint: Checkpoint
    taken: list[int]  # for each seed of the new run, the training seed whose agent it begins with


def source(config: ExperimentConfig) -> Source:
    """What `init_from` names.

    Raises:
        UserError: It is no run, has no such checkpoint or no such seed, or only one of the two normalises observations.
    """
    run_dir = Path(str(config.init_from))
    try:
        other = load(run_dir / "config.yaml")
    except UserError as error:
        raise UserError(f"init_from: {error}") from error
    try:
        checkpoint = choose(run_dir / "checkpoints", config.init_checkpoint)
    except UserError as error:
        raise UserError(f"init_{error}") from error
    seeds = list(range(other.seed, other.seed + other.seeds))
    if config.init_seed is not None and config.init_seed not in seeds:
        raise UserError(f"init_seed: {config.init_seed} is none of the training seeds {seeds} of {run_dir}")
    if other.ppo.normalize_observations != config.ppo.normalize_observations:
        value = str(other.ppo.normalize_observations).lower()
        raise UserError(f"init_from: {run_dir} was trained with ppo.normalize_observations={value}; give the same")
    if config.init_seed is not None:
        return Source(other, checkpoint, [config.init_seed] * config.seeds)
    return Source(other, checkpoint, seeds if len(seeds) == config.seeds else seeds[:1] * config.seeds)


def has_begun(run_dir: Path) -> bool:
    """Whether a new run in a directory has taken what it takes from another one, which may be gone since."""
    return bool(saved_updates(run_dir / "checkpoints")) or read_summary(run_dir) is not None


def _heads(agent: Any) -> tuple[Any, ...]:
    return tuple(getattr(agent, name) for name in HEADS)


def _part(state: TrainState, config: ExperimentConfig) -> TrainState:
    """What of a state is taken; None for the rest."""
    agent: Any = state.agent
    if not config.init_heads:
        agent = eqx.tree_at(_heads, agent, replace=(None,) * len(HEADS))
    moments = state.normalizers.observation if config.ppo.normalize_observations else None
    nothing = TrainState(*[None] * len(TrainState._fields))  # type: ignore[arg-type]
    return nothing._replace(agent=agent, normalizers=Normalizers(moments, None, None))  # type: ignore[arg-type]


def check_source(config: ExperimentConfig, one: TrainState) -> Source:
    """Check that the agents of the other run fit.

    Args:
        config: The new run's.
        one: The state of one seed, of arrays or `jax.ShapeDtypeStruct`s.

    Raises:
        UserError: As in `source`; or the core or the shape of a parameter differs; one line that says which.
    """
    found = source(config)
    parts = (".agent.", ".normalizers.observation") if config.ppo.normalize_observations else (".agent.",)
    left_out = () if config.init_heads else tuple(f".agent.{name}" for name in HEADS)
    # Each of its parameters must have a place: half of a deep core is another core.
    leaves = {
        name: leaf | {"shape": leaf["shape"][1:]}
        for name, leaf in found.checkpoint.meta["leaves"].items()
        if name.startswith(parts) and not name.startswith(left_out)
    }
    complaint = mismatch(_part(one, config), leaves)
    differences = _differences(found.config, config)
    # Two cores may have parameters of the same names and shapes, and still be two.
    if complaint or found.config.core.name != config.core.name:
        told = "; ".join([*([complaint] if complaint else []), *differences][:4])
        heads = "; init_heads=false leaves actor and critic out" if config.init_heads else ""
        raise UserError(f"init_from: the agents of {config.init_from} do not fit: {told}{heads}")
    return found


def _differences(other: ExperimentConfig, config: ExperimentConfig) -> list[str]:
    """The settings in which two runs differ and which decide what parameters an agent has, in words."""
    theirs, ours = computation(other), computation(config)
    keys = [key for key in {**theirs, **ours} if key.split(".")[0] in ("core", "model", "env", "env_kwargs", "wrap")]
    return [
        f"{key} is {theirs.get(key)} there, {ours.get(key)} here" for key in keys if theirs.get(key) != ours.get(key)
    ]


def begin_with(config: ExperimentConfig, state: TrainState, copies: int = 1) -> tuple[TrainState, dict[str, Any]]:
    """The first state of a run with the parameters of the other one in it.

    Args:
        config: The run's.
        state: Its own first state, leaves [copies * S, ...].
        copies: Runs of one program, which all begin alike.

    Returns:
        The state, and a record of what it has taken: run directory, update, environment steps, a training seed for
        each of its own, and the commit that trained them.

    Raises:
        UserError: As in `check_source`.
        CheckpointError: The checkpoint cannot be read.
    """
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)
    other, checkpoint, taken = check_source(config, one)
    step = checkpoint.update * other.batch_size
    print(f"beginning with the agents of {config.init_from} after {step:,} steps, training seeds {taken}", flush=True)
    if differences := _differences(other, config):
        print(f"init_from: {'; '.join(differences)}", flush=True)
    if failed := [one for one in checkpoint.meta.get("failed") or [] if one["seed"] in taken]:
        print(f"rlformers: warning: {failed_note(failed)}: its agent is that before it", file=sys.stderr)
    part = _part(one, config)
    all_seeds = jax.tree.map(lambda x: jax.ShapeDtypeStruct((other.seeds, *x.shape), x.dtype), part)
    rows = jnp.array([seed - other.seed for seed in taken] * copies)
    read_part = jax.tree.map(lambda x: x[rows], read(checkpoint, all_seeds, partial=True))
    agent, moments = read_part.agent, read_part.normalizers.observation
    if not config.init_heads:
        agent = eqx.tree_at(_heads, agent, _heads(state.agent), is_leaf=lambda x: x is None)
    # Of the new run are the fields that are no arrays, such as the bounds of its observations.
    state = state._replace(agent=jax.tree.unflatten(jax.tree.structure(state.agent), jax.tree.leaves(agent)))
    if moments is not None:
        state = state._replace(normalizers=state.normalizers._replace(observation=moments))
    commit = (read_summary(Path(str(config.init_from))) or {}).get("git_commit")
    return state, {
        "run_dir": config.init_from,
        "update": checkpoint.update,
        "step": step,
        "seeds": taken,
        "git_commit": commit,
    }
