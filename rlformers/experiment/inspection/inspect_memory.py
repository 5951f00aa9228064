"""`rlformers inspect`: shows what the memory of one agent does, in figures and numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlformers.agents.agent import Agent
from rlformers.agents.masks import without_mask
from rlformers.config import InspectConfig
from rlformers.errors import UserError
from rlformers.experiment.evaluation.evaluate import Trained, load_trained, parse_options, training_keys
from rlformers.experiment.inspection import memory_figures
from rlformers.experiment.inspection.episode_trace import Watched, choose_agent, watch
from rlformers.experiment.inspection.influence import by_lag, differentiable, influence, lag_that_holds
from rlformers.experiment.inspection.time_scales import time_scales
from rlformers.experiment.program.build import in_precision
from rlformers.experiment.program.xla_cache import enable_compilation_cache
from rlformers.experiment.reports.figure_grid import SUFFIXES
from rlformers.experiment.run_files.run_dir import write_json

FIGURES = ("influence", "horizon", "attention", "spectrum", "state")
FILES = ("inspection.json", "arrays.npz", *(f"{name}{suffix}" for name in FIGURES for suffix in SUFFIXES))
SHARES = (0.5, 0.9)


class Inspected(NamedTuple):
    """The results about T steps, as NumPy arrays."""

    watched: Watched
    inputs: str  # the inputs of the derivatives, in words
    influence: dict[str, np.ndarray]  # on value and policy, [T, T]: row t, column s
    horizon: dict[str, np.ndarray]  # means of the influence by lag [L]
    attention: list[np.ndarray]  # per layer [H, T, T]
    eigenvalues: list[np.ndarray]  # per layer [1 or T, N]
    initial_eigenvalues: list[np.ndarray]  # before training, on the same observations


def inspect(run_dir: Path | str, out: Path | str | None = None, words: Sequence[str] = ()) -> list[str]:
    """Let one agent of a run play, and write figures and numbers about its memory into a directory.

    Args:
        run_dir: A run directory with checkpoints; the run may still be training.
        out: The directory; default: `RUN_DIR/inspection`.
        words: As on the command line: `episodes=1`, `max_steps=64`, `agent=1`, ...
            (`InspectConfig`), and changes of the environment.

    Returns:
        Lines of text: the results, the figures that do not apply, and the files.

    Raises:
        UserError: A key or value does not exist or fit, or a file exists or cannot be written.
        CheckpointError: No checkpoint can be read.
    """
    enable_compilation_cache()
    run_dir = Path(run_dir)
    out = run_dir / "inspection" if out is None else Path(out)
    options, _ = parse_options(run_dir, words, InspectConfig)
    taken = [] if options.overwrite else [name for name in FILES if (out / name).exists()]
    if taken:
        raise UserError(f"--out: {out / taken[0]} exists; overwrite=true replaces it")
    trained = load_trained(run_dir, words, InspectConfig)
    seed, *_ = choose_agent(trained)
    found = examine(trained)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in FILES:  # this inspection may write fewer files than an earlier one
            (out / name).unlink(missing_ok=True)
        config = trained.config
        who = f"{config.core.name} on {config.env}, training seed {seed}, after {trained.step:,} steps"
        files = draw(found, who, out)
        np.savez_compressed(out / "arrays.npz", **_arrays(found))  # type: ignore[arg-type]
        about = {"run_dir": str(run_dir), "env": config.env, "core": config.core.name, "agent": seed}
        about |= {"step": trained.step, "greedy": options.greedy, "seed": options.seed}
        write_json(out / "inspection.json", about | summarise(found), indent=1)
    except OSError as error:
        raise UserError(f"--out: cannot write {out}: {error.strerror}") from error
    return [who, *_text(found), *map(str, [*files, out / "arrays.npz", out / "inspection.json"])]


def examine(trained: Trained) -> Inspected:
    """Play, and inspect the memory."""
    config, (seed, agent, _) = trained.config, choose_agent(trained)
    watched = watch(trained)
    starts = jnp.asarray(watched.start)

    def look(agent: Agent) -> tuple[Any, Any]:
        seen = jax.tree.map(jnp.asarray, without_mask(watched.seen)[0])
        tokens = agent.encoder(seen, num_leading=1)
        empty = agent.core.initial_state()
        return agent.core.attention(empty, tokens, starts), agent.core.eigenvalues(empty, tokens, starts)

    look = jax.jit(in_precision(config, look))
    attention, eigenvalues = look(agent)
    initial: tuple[Any, ...] = ()
    if eigenvalues:
        # The same program that training starts with, bit for bit; its compiled form is in the
        # cache.
        init = jax.jit(jax.vmap(trained.built.learner.init))
        agents = init(training_keys(config)).agent
        initial = look(jax.tree.map(lambda leaf: leaf[seed - config.seed], agents))[1]
    matrices = jax.jit(in_precision(config, influence))(agent, watched.seen, starts)._asdict()
    matrices = {name: np.asarray(matrix) for name, matrix in matrices.items()}
    T = len(starts)
    return Inspected(
        watched=watched,
        inputs="observation" if differentiable(agent, watched.seen) else "encoder's output",
        influence=matrices,
        horizon={name: by_lag(matrix, watched.start) for name, matrix in matrices.items()},
        attention=[np.asarray(weights)[..., -T:] for weights in attention],  # the cache was empty
        eigenvalues=[np.asarray(values) for values in eigenvalues],
        initial_eigenvalues=[np.asarray(values) for values in initial],
    )


def summarise(found: Inspected) -> dict[str, Any]:
    """The summary numbers, for JSON."""
    horizon: dict[str, Any] = {"of": found.inputs}
    for name, profile in found.horizon.items():
        lags = {f"lag_of_{share:.0%}".replace("%", "_percent"): lag_that_holds(profile, share) for share in SHARES}
        peak = int(np.argmax(profile)) if profile.any() else None
        horizon[name] = {**lags, "peak_lag": peak, "mean_by_lag": profile.tolist()}
    heads = [
        [{"peak_lag": int(np.argmax(by_lag(head, found.watched.start)))} for head in layer] for layer in found.attention
    ]
    spectra = []
    for after, before in zip(found.eigenvalues, found.initial_eigenvalues, strict=True):
        spectra.append(
            {
                "depends_on_input": len(after) > 1,
                "time_scale": _quantiles(after),
                "initial_time_scale": _quantiles(before),
            }
        )
    return {
        "num_steps": len(found.watched.start),
        "starts": np.flatnonzero(found.watched.start).tolist(),
        "influence": horizon,
        "attention": heads,
        "spectrum": spectra,
        "state_norm": {
            name: {"mean": float(norm.mean()), "max": float(norm.max())} for name, norm in found.watched.norms.items()
        },
    }


def _quantiles(eigenvalues: np.ndarray) -> dict[str, float]:
    scales = np.minimum(time_scales(eigenvalues), np.finfo(np.float32).max)  # quantiles between infinities do not exist
    return {f"q{percent}": float(np.percentile(scales, percent)) for percent in (0, 25, 50, 75, 100)}


def _arrays(found: Inspected) -> dict[str, np.ndarray]:
    arrays = {"start": found.watched.start, "value": found.watched.value, "reward": found.watched.reward}
    arrays |= {f"influence_{name}": matrix for name, matrix in found.influence.items()}
    for kind in ("attention", "eigenvalues", "initial_eigenvalues"):
        arrays |= {f"{kind}_{i + 1}": array for i, array in enumerate(getattr(found, kind))}
    return arrays | {f"state_norm {name}": norm for name, norm in found.watched.norms.items()}


def draw(found: Inspected, who: str, out: Path) -> list[Path]:
    """Write all figures that apply."""
    start = found.watched.start
    files = memory_figures.draw_influence(found.influence, start, found.inputs, who, out / "influence")
    files += memory_figures.draw_horizon(found.horizon, SHARES, found.inputs, who, out / "horizon")
    if found.attention:
        files += memory_figures.draw_attention(found.attention, start, who, out / "attention")
    if found.eigenvalues:
        files += memory_figures.draw_spectrum(
            found.eigenvalues, found.initial_eigenvalues, start, who, out / "spectrum"
        )
    if found.watched.norms:
        files += memory_figures.draw_state(found.watched.norms, start, who, out / "state")
    return files


def _text(found: Inspected) -> list[str]:
    numbers = summarise(found)
    lines = [
        f"{numbers['num_steps']} steps, the memory starts at step {', '.join(str(s + 1) for s in numbers['starts'])}"
    ]
    for name in found.horizon:
        of = numbers["influence"][name]
        if of["peak_lag"] is None:
            lines.append(f"influence on the {name}: none")
            continue
        lines.append(
            f"influence on the {name}: largest at lag {of['peak_lag']}, "
            f"half of it within lag {of['lag_of_50_percent']}, 90 % within lag {of['lag_of_90_percent']}"
        )
    for i, layer in enumerate(numbers["attention"]):
        lags = ", ".join(str(head["peak_lag"]) for head in layer)
        lines.append(f"attention of layer {i + 1}: the heads look most at lag {lags}")
    for i, layer in enumerate(numbers["spectrum"]):
        now, before = (f"{layer[key]['q50']:.3g}" for key in ("time_scale", "initial_time_scale"))
        longest = f"{layer['time_scale']['q100']:.3g}"
        lines.append(
            f"recurrence of layer {i + 1}: median time scale {now} steps (initially {before}), longest {longest}"
        )
    if not found.attention:
        lines.append("no attention map: this core has no softmax attention")
    if not found.eigenvalues:
        lines.append("no spectrum: this core has no recurrence that is linear in the state")
    if not found.watched.norms:
        lines.append("no state norms: this core has no state")
    return lines
