"""The recurrent models of memax 0.1: names, options and classes. Importing this module imports neither jax nor memax.

Names and default sizes are those of memax's `get_residual_memory_models`, which leaves out `DLSE`. Its `MLP` has no
memory and is left out here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from rlformers.cores.options import check_least

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from rlformers.cores.core import Core


@dataclass(frozen=True)
class Config:
    """Sizes, of which 0 stands for one that follows from the width. Some models have none."""

    def __post_init__(self) -> None:
        check_least(self, **{field.name: 0 if field.default == 0 else 1 for field in fields(self)})


@dataclass(frozen=True)
class Vector(Config):
    """The state is a vector."""

    recurrent_size: int = 0  # 0 means the width


@dataclass(frozen=True)
class Matrix(Config):
    """The state is a square matrix."""

    recurrent_size: int = 0  # of rows; 0 means the square root of the width


@dataclass(frozen=True)
class Product(Config):
    """The state is a square matrix that each token changes several times."""

    recurrent_size: int = 0  # of rows; 0 means the square root of the width
    rank: int = 4  # changes


@dataclass(frozen=True)
class Traces(Config):
    """The state is a matrix of traces by contexts."""

    trace_size: int = 4
    context_size: int = 0  # 0 means a quarter of the width


@dataclass(frozen=True)
class Frames(Config):
    """The state holds the last inputs."""

    window_size: int = 4  # tokens, the present one included


@dataclass(frozen=True)
class Attended(Config):
    """The state holds the last keys and values."""

    window_size: int = 20  # tokens, the present one included


Arguments = Callable[[Any, int], dict[str, Any]]  # of memax's constructors, from our options and the width


@dataclass(frozen=True)
class Model:
    """A definition of a core, as the registry wants it."""

    name: str
    paper: str
    summary: str
    cell: str  # a class below memax.equinox
    Config: type[Config]
    arguments: Arguments

    def make(self, config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
        """memax's `ResidualModel` of these cells.

        memax is imported here and not earlier: its modules compute while they are imported, which must not happen
        before JAX is set up, and every experiment is checked against the options of every core.

        Raises:
            ValueError: A width that the model cannot have, or an installed memax that lacks it.
        """
        arguments = self.arguments(config, width)
        module, _, name = self.cell.rpartition(".")
        try:
            cell = getattr(importlib.import_module(f"memax.equinox.{module}"), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"core: 'memax/{self.name}' cannot be loaded from memax: {error}") from error

        from rlformers.cores.memax_adapter import Memax

        window = num_layers * (arguments["window_size"] - 1) if "window_size" in arguments else None
        return Memax(lambda key: cell(key=key, **arguments), width, num_layers, window, key=key)


def _plain(config: Config, width: int) -> dict[str, Any]:
    del config
    return {"recurrent_size": width}


def _plain_twice(config: Config, width: int) -> dict[str, Any]:
    del config
    return {"recurrent_size": width, "hidden_size": width}


def _vector(config: Vector, width: int) -> dict[str, Any]:
    return {"recurrent_size": config.recurrent_size or width, "hidden_size": width}


def _vector_relu(config: Vector, width: int) -> dict[str, Any]:
    from jax.nn import relu

    return {**_vector(config, width), "activation": relu}


def _matrix(config: Matrix | Product, width: int) -> dict[str, Any]:
    return {"recurrent_size": config.recurrent_size or round(width**0.5), "hidden_size": width}


def _product(config: Product, width: int) -> dict[str, Any]:
    return {**_matrix(config, width), "rank": config.rank}


def _traces(config: Traces, width: int) -> dict[str, Any]:
    contexts = config.context_size or max(width // 4, 1)
    return {"trace_size": config.trace_size, "context_size": contexts, "hidden_size": width}


def _frames(config: Frames, width: int) -> dict[str, Any]:
    return {"recurrent_size": width, "window_size": config.window_size}


def _attended(positions: str | None) -> Arguments:
    def arguments(config: Attended, width: int) -> dict[str, Any]:
        if positions == "rope" and width % 2:
            raise ValueError(f"model.width: need an even number for core=memax/Attention-RoPE, got {width}")
        return {"recurrent_size": width, "window_size": config.window_size, "positional_embedding": positions}

    return arguments


MODELS = (
    Model("NMax", "-", "the largest values so far", "semigroups.nmax.NMax", Config, _plain),
    Model("DLSE", "-", "a soft maximum of outer products", "semigroups.dlse.DLSE", Config, _plain),
    Model(
        "LinearRNN",
        "Martin & Cundy 2018",
        "the sum of the inputs",
        "semigroups.lrnn.LinearRecurrent",
        Config,
        _plain,
    ),
    Model("LRU", "Orvieto et al. 2023", "linear recurrent unit", "semigroups.lru.LRU", Vector, _vector),
    Model("S6", "Gu & Dao 2023", "LRU with learned time steps", "semigroups.s6.S6", Config, _plain_twice),
    Model("FFM", "Morad et al. 2023", "fading, turning traces", "semigroups.ffm.FFM", Traces, _traces),
    Model("FART", "Katharopoulos et al. 2020", "linear attention", "semigroups.fart.FART", Matrix, _matrix),
    Model("FWP", "Irie & Gershman 2025", "fast weights that add up", "semigroups.fwp.FWP", Matrix, _matrix),
    Model("DeltaNet", "Yang et al. 2024", "fast weights that erase", "semigroups.delta.DeltaNet", Matrix, _matrix),
    Model("GDN", "Yang et al. 2025", "gated DeltaNet", "semigroups.gdn.GDN", Matrix, _matrix),
    Model(
        "DeltaProduct",
        "Siems et al. 2025",
        "DeltaNet with several changes per token",
        "semigroups.deltap.DeltaProduct",
        Product,
        _product,
    ),
    Model(
        "PSpherical",
        "Biegun et al. 2024",
        "a product of rotations, in parallel",
        "semigroups.spherical.PSpherical",
        Matrix,
        _matrix,
    ),
    Model(
        "Spherical", "Biegun et al. 2024", "a rotated vector", "set_actions.spherical.Spherical", Config, _plain_twice
    ),
    Model("Stack", "-", "the last inputs", "semigroups.stack.Stack", Frames, _frames),
    Model(
        "Attention",
        "Vaswani et al. 2017",
        "attention to a sliding window",
        "semigroups.attn.Attention",
        Attended,
        _attended(None),
    ),
    Model(
        "Attention-RoPE",
        "Su et al. 2021",
        "the same, with turned keys",
        "semigroups.attn.Attention",
        Attended,
        _attended("rope"),
    ),
    Model(
        "Attention-ALiBi",
        "Press et al. 2022",
        "the same, with a slope by distance",
        "semigroups.attn.Attention",
        Attended,
        _attended("alibi"),
    ),
    Model("GRU", "Cho et al. 2014", "gated recurrent unit", "set_actions.gru.GRU", Config, _plain),
    Model("MGU", "Zhou et al. 2016", "minimal gated unit", "set_actions.mgu.MGU", Config, _plain),
    Model("LSTM", "Hochreiter & Schmidhuber 1997", "long short-term memory", "set_actions.lstm.LSTM", Config, _plain),
    Model("Elman", "Elman 1990", "tanh network", "set_actions.elman.Elman", Vector, _vector),
    Model("ElmanReLU", "Elman 1990", "the same with ReLU", "set_actions.elman.Elman", Vector, _vector_relu),
)
