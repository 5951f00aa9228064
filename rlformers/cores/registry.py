"""The cores by name. Importing this module imports no core and no jax, so that listing them is instant.

A definition is any object (most simply a module) with two attributes:

* `Config`: a frozen dataclass of the core's options, validated in `__post_init__`;
* `make(config, width, num_layers, key) -> Core`.

Other packages add theirs with `register_core`, or without being imported through the entry-point group
`rlformers.cores`, e.g. in their pyproject.toml

    [project.entry-points."rlformers.cores"]
    mycore = "my_package.my_core"
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import importlib.util
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from rlformers.cores.memax_models import MODELS

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from rlformers.cores.core import Core


@runtime_checkable
class Definition(Protocol):
    """What stands behind the name of a core."""

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
        Entry(
            "mingru", "Feng et al. 2024", "GRU without h in its gates: a linear recurrence", "rlformers.cores.mingru"
        ),
        Entry("lru", "Orvieto et al. 2023", "linear recurrent unit", "rlformers.cores.lru"),
        Entry("ffm", "Morad et al. 2023", "fast and forgetful memory: fading, turning traces", "rlformers.cores.ffm"),
        Entry("s4d", "Gu et al. 2022", "diagonal state space per feature", "rlformers.cores.s4d"),
        Entry("s5", "Smith et al. 2023, Lu et al. 2023", "diagonal state space, resettable", "rlformers.cores.s5"),
        Entry("gtrxl", "Parisotto et al. 2019", "gated Transformer-XL, cached window", "rlformers.cores.gtrxl"),
        Entry("transformer", "Vaswani et al. 2017", "pre-norm, cached window, RoPE", "rlformers.cores.transformer"),
        Entry("framestack", "Mnih et al. 2015", "the last k inputs: the control", "rlformers.cores.framestack"),
        Entry("lmu", "Voelker et al. 2019", "Legendre memory of sliding windows", "rlformers.cores.lmu"),
        Entry("lmuformer", "Liu et al. 2024", "causal convolutions and LMUs", "rlformers.cores.lmuformer"),
        Entry("spiking_lmuformer", "Liu et al. 2024", "LMUFormer of spikes", "rlformers.cores.spiking_lmuformer"),
        Entry("mamba", "Gu & Dao 2023", "selective state space S6", "rlformers.cores.mamba"),
        Entry("mamba2", "Dao & Gu 2024", "state space of matrices, scalar decays", "rlformers.cores.mamba2"),
        Entry("mamba3", "Lahoti et al. 2026", "state space that turns, trapezoidal rule", "rlformers.cores.mamba3"),
        Entry("linear_attention", "Katharopoulos et al. 2020", "mean by content", "rlformers.cores.linear_attention"),
        Entry("mlstm", "Beck et al. 2024", "xLSTM's matrix memory, exponential gates", "rlformers.cores.mlstm"),
        Entry("slstm", "Beck et al. 2024", "xLSTM's mixing memory, exponential gates", "rlformers.cores.slstm"),
        Entry("deltanet", "Yang et al. 2024", "matrix memory that erases, gated", "rlformers.cores.deltanet"),
    )
}

# Listed and made only where the package is installed.
_of_memax = {
    f"memax/{model.name}": Entry(f"memax/{model.name}", model.paper, f"memax's: {model.summary}", model)
    for model in MODELS
}


def register_core(name: str, definition: Definition, *, paper: str = "-", summary: str = "") -> None:
    """Add a core under a new name.

    Raises:
        ValueError: The name is taken.
    """
    if name in entries():
        raise ValueError(f"core: {name!r} is already registered")
    _entries[name] = Entry(name, paper, summary, definition)


def entries() -> dict[str, Entry]:
    """All cores by name: built-in and registered ones, and those of installed plug-ins and of memax."""
    plugins = {
        point.name: Entry(point.name, "-", f"from {point.dist.name if point.dist else point.value}", point.value)
        for point in importlib.metadata.entry_points(group="rlformers.cores")
    }
    return plugins | _entries | (_of_memax if _has_memax() else {})


def _has_memax() -> bool:
    return importlib.util.find_spec("memax") is not None


def built_in() -> tuple[str, ...]:
    """The names of the cores of this package."""
    return tuple(name for name, entry in _entries.items() if str(entry.target).startswith(f"{__package__}."))


def load(name: str) -> Definition:
    """Import the definition of a core.

    Raises:
        ValueError: Unknown name (the nearest is suggested), a plug-in that cannot be imported, or memax is missing.
    """
    known = entries()
    if name not in known and name.startswith("memax/") and not _has_memax():
        raise ValueError(f"core: {name!r} needs the package memax: pip install 'rlformers[memax]'")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"core: {name!r} is none of {', '.join(known)}{hint}")
    target = known[name].target
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    try:
        definition: Any = importlib.import_module(module)
        for part in filter(None, attribute.split(".")):
            definition = getattr(definition, part)
        definition.Config, definition.make  # noqa: B018 (a broken plug-in is named here, not where it is used)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"core: {name!r} cannot be loaded from {target!r}: {error}") from error
    return definition


def make_core(name: str, width: int, num_layers: int = 1, *, key: PRNGKeyArray, **options: Any) -> Core:
    """Build a core, e.g. `make_core("s5", width=64, num_layers=2, key=key, state_size=128)`.

    Args:
        name: A name that `entries` knows.
        width: D, the size of its inputs and outputs.
        num_layers: L.
        key: For the initial parameters.
        **options: Fields of the core's config dataclass.

    Raises:
        ValueError: Unknown name, unknown option, or an option out of range; the message names the key and the choices.
    """
    definition = load(name)
    names = [field.name for field in fields(definition.Config)]
    for option in options:
        if option not in names:
            raise ValueError(f"core.{option}: core {name!r} has {', '.join(names) or 'no options'}")
    for argument, value in (("width", width), ("num_layers", num_layers)):
        if value < 1:
            raise ValueError(f"model.{argument}: need at least 1, got {value}")
    return definition.make(definition.Config(**options), width, num_layers, key)
