"""Shows steps as text and numbers."""

from typing import Any

import jax
import numpy as np

from rlformers.experiment.evaluation.evaluate import Trained
from rlformers.experiment.inspection.episode_trace import Watched, attempts, episode_numbers, returns_so_far

SHOWN = 12  # largest number of entries of an observation in a line of text


def choices(policy: Any, outputs: np.ndarray) -> list[np.ndarray] | None:
    """Probabilities [T, n] of every discrete choice; None if actions are continuous."""
    sizes = getattr(policy, "sizes", None)
    if sizes is None:
        return None
    return [np.asarray(jax.nn.softmax(part, -1)) for part in np.split(outputs, np.cumsum(sizes)[:-1], axis=-1)]


def gaussian(outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations [T, A]."""
    mean, log_std = np.split(outputs, 2, axis=-1)
    return mean, np.exp(log_std)


def rows(trained: Trained, watched: Watched) -> list[dict[str, Any]]:
    """Every step in a form for JSON."""
    policy = trained.agents.policy
    probabilities, attempt = choices(policy, watched.policy), attempts(trained, watched)
    episode, returns = episode_numbers(watched), returns_so_far(watched)
    found = []
    for t in range(len(watched.start)):
        row: dict[str, Any] = {"step": t + 1, "episode": int(episode[t]) + 1, "start": bool(watched.start[t])}
        if attempt is not None:
            row["attempt"] = int(attempt[t])
        leaves = jax.tree_util.tree_leaves_with_path(jax.tree.map(lambda leaf, t=t: leaf[t], watched.obs))
        row["observation"] = {
            jax.tree_util.keystr(path, simple=True, separator="."): leaf.tolist()
            for path, leaf in leaves
            if leaf.ndim < 3  # images are in the pictures
        }
        if probabilities is not None:
            row["probabilities"] = [part[t].tolist() for part in probabilities]
        else:
            row["mean"], row["std"] = (part[t].tolist() for part in gaussian(watched.policy))
        row |= {name: getattr(watched, name)[t].tolist() for name in ("action", "value", "reward")}
        row["return"] = float(returns[t])
        row |= {name: bool(getattr(watched, name)[t]) for name in ("terminated", "truncated")}
        found.append(row)
    return found


def text(trained: Trained, watched: Watched) -> list[str]:
    """A line per step under a heading."""
    steps = rows(trained, watched)
    with_attempts = "attempt" in steps[0]
    continuous = "mean" in steps[0]
    seen = [_observation(jax.tree.map(lambda leaf, t=t: leaf[t], watched.obs)) for t in range(len(steps))]
    acted = [_action(row) for row in steps]
    wide, wider = max(11, *map(len, seen)), max(6, *map(len, acted))
    margin = f"{'attempt':>7} " if with_attempts else ""
    about = "mean, std" if continuous else "probability"
    lines = [
        f"{'step':>5} {margin}{'observation':{wide}} {'action':>{wider}} {about:>16} {'value':>8} {'reward':>8} return"
    ]
    for row, obs, action in zip(steps, seen, acted, strict=True):
        margin = f"{row['attempt']:7} " if with_attempts else ""
        end = "  terminated" if row["terminated"] else "  truncated" if row["truncated"] else ""
        lines.append(
            f"{row['step']:5} {margin}{obs:{wide}} {action:>{wider}} {_confidence(row):>16} "
            f"{row['value']:8.3f} {row['reward']:8.3f} {row['return']:.3f}{end}"
        )
    return lines


def summary(watched: Watched) -> list[str]:
    """A line per episode."""
    episode, returns = episode_numbers(watched), returns_so_far(watched)
    lines = []
    for number in range(episode[-1] + 1):
        (steps,) = np.nonzero(episode == number)
        last = steps[-1]
        end = "terminated" if watched.terminated[last] else "truncated" if watched.truncated[last] else "cut off"
        lines.append(f"episode {number + 1}: return {returns[last]:.3f}, {len(steps)} steps, {end}")
    return lines


def _observation(obs: Any) -> str:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(obs)]
    images = [f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" for leaf in leaves if leaf.ndim >= 3]
    vectors = [leaf.ravel() for leaf in leaves if leaf.ndim < 3]
    numbers = np.concatenate(vectors).astype(float) if vectors else np.zeros(0)
    cells = [f"{number:.3g}" for number in numbers[:SHOWN]] + ["..."] * (len(numbers) > SHOWN)
    return " ".join([*images, *cells])


def _action(row: dict[str, Any]) -> str:
    parts = np.ravel(row["action"])
    return " ".join(str(int(part)) if "probabilities" in row else f"{part:.3f}" for part in parts)


def _confidence(row: dict[str, Any]) -> str:
    if "mean" in row:
        return " ".join(f"{m:.2f}±{s:.2f}" for m, s in zip(row["mean"], row["std"], strict=True))
    taken = np.ravel(row["action"])
    return " ".join(f"{part[int(i)]:.3f}" for part, i in zip(row["probabilities"], taken, strict=True))
