"""Logs to W&B everything except rows: figures and GIFs, evaluations, and checkpoints as artifacts."""

import hashlib
import json
from pathlib import Path
from typing import Any

# Folders of a run directory whose pictures are not shown.
_PRIVATE = ("wandb", "tensorboard", "checkpoints")


def log_media(run: Any, run_dir: Path, known: dict[str, str]) -> None:
    """Log every PNG and GIF in a run directory as `media/<path>`, unless the run has it.

    Args:
        run: The W&B run.
        run_dir: The run directory.
        known: The SHA-256 sums of the media that the run has, by key.
    """
    import wandb

    for file in sorted([*run_dir.rglob("*.png"), *run_dir.rglob("*.gif")]):
        path = file.relative_to(run_dir)
        key = f"media/{path.with_suffix('').as_posix()}"
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if path.parts[0] in _PRIVATE or known.get(key) == digest:
            continue
        gif = file.suffix == ".gif"
        run.log({key: wandb.Video(str(file), format="gif") if gif else wandb.Image(str(file))})


def log_evaluations(run: Any, run_dir: Path, seeds: list[int]) -> None:
    """Put the results of `rlformers evaluate` into the summary, as `evaluations/<name>/<return or length>`.

    With several seeds, the value is their mean.
    """
    for file in sorted((run_dir / "evaluations").glob("*.json")):
        found = json.loads(file.read_text())
        for what in ("return", "length"):
            result = found["results"][what]
            row = result if len(seeds) > 1 else result["per_seed"][found["seeds"].index(seeds[0])]
            run.summary[f"evaluations/{file.stem}/{what}"] = row["mean"]


def log_checkpoints(run: Any, run_dir: Path) -> None:
    """Log the best and the last good checkpoint, which hold all seeds, as versions of one artifact of type model.

    Its name is `checkpoint-<id of the run>`; the aliases are `best` and `latest`. W&B keeps equal
    contents once.
    """
    import wandb

    from rlformers.experiment.checkpoints.store import best_of, good_checkpoints

    good = {checkpoint.update: checkpoint for checkpoint in good_checkpoints(run_dir / "checkpoints")}
    if not good:
        return
    best, last = best_of({update: checkpoint.meta for update, checkpoint in good.items()}), max(good)
    for update in (last,) if best in (None, last) else (best, last):  # the newest version is the latest one
        checkpoint = good[update]  # type: ignore[index]
        metadata = {key: checkpoint.meta[key] for key in ("update", "score", "config", "versions")}
        artifact = wandb.Artifact(f"checkpoint-{run.id}", type="model", metadata=metadata)
        artifact.add_dir(str(checkpoint.path))
        run.log_artifact(artifact, aliases=["best"] * (update == best) + ["latest"] * (update == last))
