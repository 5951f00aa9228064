"""Run directories are created, never overwritten."""

import time
from pathlib import Path

from rlformers.compose import to_yaml
from rlformers.config import ExperimentConfig


def create_run_dir(config: ExperimentConfig) -> Path:
    """Make the run's directory and write `config.yaml` into it.

    Raises:
        ValueError: It exists, or cannot be written.
    """
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    path = Path(config.run_dir) if config.run_dir else Path("runs") / config.env / config.core.name / stamp
    number = 1
    while True:
        try:
            path.mkdir(parents=True)
            (path / "config.yaml").write_text(to_yaml(config))
            return path
        except FileExistsError as error:
            if config.run_dir:
                raise ValueError(f"run_dir: {path} exists; runs are never overwritten") from error
            number += 1
            path = path.with_name(f"{stamp}-{number}")
        except OSError as error:
            raise ValueError(f"run_dir: cannot write {path}: {error.strerror}") from error
