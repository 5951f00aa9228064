"""`rlformers play`: episodes of one agent as text or as an animated picture."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from rlformers.config import PlayConfig
from rlformers.envs.rendering.render import keep_pictures
from rlformers.errors import FileError, UserError
from rlformers.experiment.evaluation.evaluate import load_trained, parse_options
from rlformers.experiment.inspection.episode_trace import choose_agent, watch
from rlformers.experiment.inspection.step_pictures import frames
from rlformers.experiment.inspection.step_text import rows, summary, text
from rlformers.experiment.program.xla_cache import enable_compilation_cache
from rlformers.experiment.run_files.run_dir import write_json


def play(run_dir: Path | str, gif: Path | str | None = None, words: Sequence[str] = ()) -> list[str]:
    """Play episodes of one agent of a run.

    Args:
        run_dir: A run directory with checkpoints; the run may still be training.
        gif: The file for the animated picture, a frame per step; with
            `env_kwargs.render_mode=rgb_array`, what a Gymnasium environment draws itself. Every
            number in it goes to the same name with the suffix `.json`.
        words: As on the command line: `episodes=3`, `agent=1`, ... (`PlayConfig`), and changes of
            the environment.

    Returns:
        Lines of text: every step if there is no `gif`, and a summary.

    Raises:
        UserError: A key or value does not exist or fit, or a file exists or cannot be written.
        CheckpointError: No checkpoint can be read.
        FileError: The picture cannot be written.
    """
    enable_compilation_cache()
    run_dir = Path(run_dir)
    options, _ = parse_options(run_dir, words, PlayConfig)
    files = () if gif is None else _free(Path(gif), options.overwrite)
    trained = load_trained(run_dir, words, PlayConfig)
    seed, *_ = choose_agent(trained)
    if files:
        keep_pictures(trained.built.env)
    watched = watch(trained)
    config = trained.config
    who = f"{config.core.name} on {config.env}, training seed {seed}, after {trained.step:,} steps"
    lines = [who, *(text(trained, watched) if gif is None else ()), *summary(watched)]
    if files:
        picture, numbers = files
        pictures = list(frames(trained, watched, who))
        try:
            _write_gif(picture, pictures, options.fps)
        except OSError as error:
            raise FileError(error.errno, error.strerror, str(picture)) from error
        about = {"run_dir": str(run_dir), "env": config.env, "core": config.core.name, "agent": seed}
        about |= {"step": trained.step, "greedy": options.greedy, "seed": options.seed}
        write_json(numbers, about | {"steps": rows(trained, watched)})
        lines += map(str, files)
    return lines


def _free(gif: Path, overwrite: bool) -> tuple[Path, Path]:
    """The files to write.

    Raises:
        UserError: They cannot be written, or exist and must not be overwritten.
    """
    if gif.suffix.lower() != ".gif":
        raise UserError(f"--gif: need a file name that ends with .gif, got {str(gif)!r}")
    if not gif.parent.is_dir():
        raise UserError(f"--gif: there is no directory {gif.parent}")
    files = gif, gif.with_suffix(".json")
    for file in files:
        if file.exists() and not overwrite:
            raise UserError(f"--gif: {file} exists; overwrite=true replaces it")
    return files


def _write_gif(path: Path, pictures: Iterable[np.ndarray], fps: float) -> None:
    """Write an animation that repeats. A reader of the file sees the old one or the whole new one."""
    from PIL import Image

    images = [Image.fromarray(picture).quantize(128) for picture in pictures]
    unfinished = path.with_name(f".{path.name}.unfinished")
    # The format counts hundredths of a second.
    images[0].save(
        unfinished,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=10 * round(100 / fps),
        loop=0,
    )
    unfinished.replace(path)
