"""The cores by name. Importing this module imports no core and no jax, so that listing them is instant.

A definition is any object (most simply a module) with two attributes:

* `Config`: a frozen dataclass of the core's options, which it validates in `__post_init__`;
* `make(config, width, num_layers, key) -> Core`.

Other packages add cores with `register_core`. Or they use the entry-point group `rlformers.cores`,
which needs no import, e.g. in pyproject.toml

    [project.entry-points."rlformers.cores"]
    mycore = "my_package.my_core"

A slash in a name makes a family, e.g. `"family/mycore"`. The costs of such cores are counted only
on request.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import inspect
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from rlformers.cores.options import check_options, check_size
from rlformers.errors import Complaint, UserError, complaint, named_line

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from rlformers.cores.core import Core


@runtime_checkable
class Definition(Protocol):
    """The definition of a core."""

    @property
    def Config(self) -> type:
        """A frozen dataclass of options."""

    @property
    def make(self) -> Any:
        """A function (config, width: int, num_layers: int, key) -> Core."""


class Entry(NamedTuple):
    """One line of the registry."""

    name: str
    paper: str
    summary: str
    target: str | Definition  # a module to import on first use, or the definition itself


_entries = {
    entry.name: entry
    for entry in (
        Entry("mlp", "-", "no memory: the control", "rlformers.cores.mlp"),
        Entry("gru", "Cho et al. 2014", "gated recurrent unit", "rlformers.cores.gru"),
        Entry("lstm", "Hochreiter & Schmidhuber 1997", "long short-term memory", "rlformers.cores.lstm"),
        Entry("mingru", "Feng et al. 2024", "linear GRU: its gates do not see h", "rlformers.cores.mingru"),
        Entry("lru", "Orvieto et al. 2023", "linear recurrent unit", "rlformers.cores.lru"),
        Entry(
            "ffm", "Morad et al. 2023", "fast and forgetful memory: decaying, rotating traces", "rlformers.cores.ffm"
        ),
        Entry("s4d", "Gu et al. 2022", "diagonal state space per feature", "rlformers.cores.s4d"),
        Entry("s5", "Smith et al. 2023, Lu et al. 2023", "diagonal state space, resettable", "rlformers.cores.s5"),
        Entry("gtrxl", "Parisotto et al. 2019", "gated Transformer-XL, cached window", "rlformers.cores.gtrxl"),
        Entry("transformer", "Vaswani et al. 2017", "pre-norm, cached window, RoPE", "rlformers.cores.transformer"),
        Entry("framestack", "Mnih et al. 2015", "the last k inputs: the control", "rlformers.cores.framestack"),
        Entry("lmu", "Voelker et al. 2019", "Legendre memory of sliding windows", "rlformers.cores.lmu"),
        Entry("lmuformer", "Liu et al. 2024", "causal convolutions and LMUs", "rlformers.cores.lmuformer"),
        Entry("spiking_lmuformer", "Liu et al. 2024", "LMUFormer with spikes", "rlformers.cores.spiking_lmuformer"),
        Entry("mamba", "Gu & Dao 2023", "selective state space S6", "rlformers.cores.mamba"),
        Entry("mamba2", "Dao & Gu 2024", "matrix state space, scalar decays", "rlformers.cores.mamba2"),
        Entry("mamba3", "Lahoti et al. 2026", "rotating state space, trapezoidal rule", "rlformers.cores.mamba3"),
        Entry(
            "linear_attention",
            "Katharopoulos et al. 2020",
            "decaying mean by content",
            "rlformers.cores.linear_attention",
        ),
        Entry("mlstm", "Beck et al. 2024", "xLSTM's matrix memory, exponential gates", "rlformers.cores.mlstm"),
        Entry("slstm", "Beck et al. 2024", "xLSTM's mixing memory, exponential gates", "rlformers.cores.slstm"),
        Entry("deltanet", "Yang et al. 2024", "matrix memory that erases, gated", "rlformers.cores.deltanet"),
        Entry("stack", "Lieber et al. 2024", "alternating layers of several cores", "rlformers.cores.hybrid"),
    )
}


def register_core(
    name: str, definition: Definition, *, paper: str = "-", summary: str = "", replace: bool = False
) -> None:
    """Add a core under a new name.

    Args:
        name: The name.
        definition: See the top of this file.
        paper: Where it comes from, for the list.
        summary: One line for the list.
        replace: Replace an earlier registration of this name, e.g. from a notebook cell that runs
            again.

    Raises:
        UserError: The name is taken or belongs to this package, or this does not define a core.
    """
    if name in built_in():
        raise UserError(f"core: {name!r} is already registered, by rlformers itself, and cannot be replaced")
    if name in entries() and not replace:
        raise UserError(f"core: {name!r} is already registered; replace=True puts this one in its place")
    try:
        _check_definition(definition)
    except Exception as error:
        raise complaint(f"core: {name!r} cannot be registered: {named_line(error)}", error) from error
    _entries[name] = Entry(name, paper, summary, definition)


def entries() -> dict[str, Entry]:
    """All cores by name: built-in, registered, and from installed plug-ins."""
    return _plugins() | _entries


def _points() -> list[importlib.metadata.EntryPoint]:
    return list(importlib.metadata.entry_points(group="rlformers.cores"))


def _plugins() -> dict[str, Entry]:
    plugins: dict[str, Entry] = {}
    for point in _points():  # the first of two wins, as with imports: its folder is first on the path
        plugins.setdefault(point.name, Entry(point.name, "-", f"from {_source(point)}", point.value))
    return plugins


def _source(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def ignored_plugins() -> list[str]:
    """A line for each installed plug-in that cannot be chosen because its name is taken."""
    taken = dict.fromkeys(_entries, "a core of rlformers")
    lines = []
    for point in _points():
        if point.name in taken:
            lines.append(
                f"core: {point.name!r} from {_source(point)} is ignored because {taken[point.name]} has that name"
            )
        else:
            taken[point.name] = f"a core from {_source(point)}"
    return lines


def built_in() -> tuple[str, ...]:
    """The names of the cores of this package."""
    return tuple(name for name, entry in _entries.items() if str(entry.target).startswith(f"{__package__}."))


def load(name: str) -> Definition:
    """Import the definition of a core.

    Raises:
        UserError: Unknown name (with the nearest one), or a plug-in that cannot be imported or does
            not define a core.
    """
    known = _entries if name in _entries else entries()  # looking for plug-ins takes milliseconds
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"core: {name!r} is none of {', '.join(known)}{hint}")
    target = known[name].target
    if not isinstance(target, str):
        return target
    if name in built_in():
        return importlib.import_module(target)
    module, _, attribute = target.partition(":")
    try:
        definition: Any = importlib.import_module(module)
        for part in filter(None, attribute.split(".")):
            definition = getattr(definition, part)
        _check_definition(definition)
    except (Exception, SystemExit) as error:  # the import runs a plug-in's code
        raise complaint(f"core: {name!r} cannot be loaded from {target!r}: {named_line(error)}", error) from error
    return definition


def _check_definition(definition: Any) -> None:
    """Raise if this cannot define a core, so that a broken plug-in fails here and not where it is used."""
    if not (isinstance(definition.Config, type) and is_dataclass(definition.Config)):
        raise TypeError(f"Config must be a dataclass, got {definition.Config!r}")
    typing.get_type_hints(definition.Config)
    if not callable(definition.make):
        raise TypeError(f"make must be a function, got {definition.make!r}")
    try:
        signature = inspect.signature(definition.make)
    except ValueError:  # compiled functions have none
        return
    try:
        signature.bind("config", "width", "num_layers", "key")
    except TypeError as error:
        raise TypeError(f"make cannot be called as make(config, width, num_layers, key): {error}") from None


@contextmanager
def in_one_line(name: str, what: str, options: bool = False) -> Iterator[None]:
    """Name the core in the errors of a plug-in's code; errors of built-in cores stay as they are.

    Args:
        name: The core.
        what: What failed, e.g. "cannot be made".
        options: Whether the code checks options, so that a ValueError is a complaint about them.

    Raises:
        UserError: A complaint about options or from the library, in one line.
        CodeError: Any other error of a plug-in, with that error as the cause.
    """
    try:
        yield
    except Exception as error:
        if name in built_in() or (isinstance(error, Complaint) and str(error).startswith(("core", "model."))):
            raise
        if isinstance(error, ValueError) and str(error).startswith(("core.", "model.")):  # about a plug-in's options
            raise UserError(str(error)) from error
        line = f"core: {name!r} {what}: {named_line(error)}"
        if options and isinstance(error, ValueError):
            raise UserError(line) from error
        raise complaint(line, error) from error


def make_config(name: str, options: Mapping[str, Any]) -> Any:
    """The config dataclass of a core with these options.

    Raises:
        UserError: Unknown name or option, wrong type, or out of range; the message names the key
            and the choices.
    """
    schema = load(name).Config
    checked = check_options(name, schema, options)
    with in_one_line(name, "cannot be configured", options=True):
        return schema(**checked)


def make_core(name: str, width: int, num_layers: int = 1, *, key: PRNGKeyArray, **options: Any) -> Core:
    """Build a core, e.g. `make_core("s5", width=64, num_layers=2, key=key, state_size=128)`.

    Args:
        name: A name that `entries` knows.
        width: D, the size of its inputs and outputs.
        num_layers: L.
        key: For the initial parameters.
        **options: Fields of the core's config dataclass.

    Raises:
        UserError: As `make_config`; also a size that is not an int of at least 1, options that do
            not fit the width, or a plug-in that fails.
    """
    from rlformers.cores.core import Core

    config = make_config(name, options)
    width, num_layers = check_size("model.width", width), check_size("model.num_layers", num_layers)
    with in_one_line(name, "cannot be made"):
        core = load(name).make(config, width, num_layers, key)
        if not isinstance(core, Core):
            raise TypeError(f"make must return an rlformers.Core, got {type(core).__name__}")
    return core
