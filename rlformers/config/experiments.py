"""The experiments that come with the library. Importing this module imports neither jax nor Hydra."""

from pathlib import Path

CONFIGS = Path(__file__).parents[1] / "configs"


def experiments() -> dict[str, str]:
    """The experiments by name, with the first line of their header."""
    files = sorted((CONFIGS / "experiment").rglob("*.yaml"))
    names = [file.relative_to(CONFIGS / "experiment").with_suffix("").as_posix() for file in files]
    return {name: _headline(file) for name, file in zip(names, files, strict=True)}


def _headline(file: Path) -> str:
    comments = (line[1:].strip() for line in file.read_text().splitlines() if line.startswith("#"))
    return next((comment for comment in comments if not comment.startswith("@package")), "")
