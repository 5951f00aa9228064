"""Finds experiments by name. Importing this module imports neither jax nor Hydra.

If several places have the same name, the first one wins:

* `./configs/experiment`;
* every folder in the environment variable `RLFORMERS_CONFIGS`;
* installed packages with the entry-point group `rlformers.experiments`, which names a package or
  module whose folder holds the files, or `module:attribute` with the path of a folder;
* this package.

A folder holds YAML files, or a folder `experiment` that holds them. A folder inside it is part of
the name: `mine/first`.
"""

import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rlformers.errors import UserError, named_line

CONFIGS = Path(__file__).parents[1] / "configs"
PACKAGED = "rlformers"


class Experiment(NamedTuple):
    """An experiment that `experiment=NAME` can choose."""

    path: Path
    source: str  # its folder as the user named it, the package that brought it, or "rlformers"
    headline: str  # the first line of its header
    hidden: tuple[Path, ...] = ()  # other files of this name, which are not used


def experiments() -> dict[str, Experiment]:
    """All experiments by name."""
    found: dict[str, Experiment] = {}
    for source, folder in places():
        for file in sorted(path for path in folder.rglob("*") if path.suffix in (".yaml", ".yml")):
            name = file.relative_to(folder).with_suffix("").as_posix()
            first = found.get(name)
            if first is None:
                found[name] = Experiment(file, source, _headline(file))
            elif first.path.read_bytes() != file.read_bytes():  # equal in a checkout beside the installed package
                found[name] = first._replace(hidden=(*first.hidden, file))
    return dict(sorted(found.items()))


def places() -> Iterator[tuple[str, Path]]:
    """The places to look for experiments, in order, each with its name."""
    packaged = CONFIGS / "experiment"
    for own in ("configs/experiment", *filter(None, os.environ.get("RLFORMERS_CONFIGS", "").split(os.pathsep))):
        inner = _inner(Path(own).expanduser())
        if inner.resolve() != packaged.resolve():
            yield str(inner), inner
    for point in importlib.metadata.entry_points(group="rlformers.experiments"):
        who = point.dist.name if point.dist else point.value
        try:
            yield who, _inner(_folder(point.value))
        except Exception as error:  # of any kind: code of others must not hide our own experiments
            _say(f"rlformers: experiments of {who} ({point.value}): {named_line(error)}")
    yield PACKAGED, packaged


def _inner(folder: Path) -> Path:
    return folder / "experiment" if (folder / "experiment").is_dir() else folder


def _folder(target: str) -> Path:
    """The folder that the value of an entry point names."""
    module, _, attribute = target.partition(":")
    if attribute:
        value: Any = importlib.import_module(module)
        for part in attribute.split("."):
            value = getattr(value, part)
        return Path(value)
    spec = importlib.util.find_spec(module)  # imports no more than the packages above it
    if spec is None:
        raise ModuleNotFoundError(f"No module named {module!r}")
    return Path(next(iter(spec.submodule_search_locations or [str(Path(str(spec.origin)).parent)])))


def find(name: str, but: tuple[Path, ...] = ()) -> Path:
    """The file of an experiment, by name or path.

    Args:
        name: The name of an experiment, or a path: it has a slash or the suffix .yaml or .yml.
        but: Files to skip in favour of the next one of the same name.

    Raises:
        UserError: There is no such experiment; the line lists those that exist and the places
            searched.
    """
    known = experiments()
    if name in known:
        files = [file for file in (known[name].path, *known[name].hidden) if file not in but]
        if len(files) > 1 and not but:
            others = ", ".join(map(str, files[1:]))
            _say(f"experiment: {name!r} is {files[0]}; not used, of the same name: {others}")
        if files:
            return files[0]
    path = Path(name).expanduser()
    is_path = "/" in name or os.sep in name or path.suffix in (".yaml", ".yml")
    for file in (path, path.with_name(f"{path.name}.yaml")) if is_path else ():
        if file.is_file():
            return file
    looked = ", ".join(f"{folder}{'' if folder.is_dir() else ' (no such folder)'}" for _, folder in places())
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    what = f"there is no file {name!r}; need a file or one of" if is_path else f"{name!r} is not one of"
    raise UserError(f"experiment: {what} {', '.join(known)} (in {looked}){hint}")


def table() -> Iterator[str]:
    """The lines of `rlformers list experiments`: name, where it comes from, first line of its header."""
    known = experiments()
    sources = {name: PACKAGED if found.source == PACKAGED else str(found.path) for name, found in known.items()}
    names, origins = (max(map(len, column)) for column in (known, sources.values()))
    for name, found in known.items():
        yield f"{name:{names}}  {sources[name]:{origins}}  {found.headline}".rstrip()
        for file in found.hidden:
            _say(f"experiment: {name!r} is {found.path}; not used, of the same name: {file}")


@functools.cache
def _say(line: str) -> None:
    """Print a line once."""
    print(line, file=sys.stderr)


def _headline(file: Path) -> str:
    lines = file.read_text(errors="replace").splitlines()
    return next((line[1:].strip() for line in lines if line.startswith("#") and not line.startswith("# @")), "")
