"""The recurrent models of memax 0.1: options and classes. Importing this module imports neither jax nor memax.

Names and default sizes come from memax's `get_residual_memory_models`, plus `DLSE`, which it leaves
out. This module leaves out its `MLP`, which has no memory. The entry points in pyproject.toml make
each model a core: rlformers reads `Config` and calls `make`.
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
    """Sizes. 0 means a size that follows from the width. Some models have no options."""

    def __post_init__(self) -> None:
        check_least(self, **{field.name: 0 if field.default == 0 else 1 for field in fields(self)})


@dataclass(frozen=True)
class Vector(Config):
    """The state is a vector."""

    recurrent_size: int = 0  # size of the state; 0 means the width


@dataclass(frozen=True)
class Matrix(Config):
    """The state is a square matrix."""

    recurrent_size: int = 0  # rows of the state; 0 means the square root of the width


@dataclass(frozen=True)
class Product(Config):
    """The state is a square matrix that each token changes several times."""

    recurrent_size: int = 0  # rows of the state; 0 means the square root of the width
    rank: int = 4  # changes per token


@dataclass(frozen=True)
class Traces(Config):
    """The state is a matrix of traces by contexts."""

    trace_size: int = 4  # traces
    context_size: int = 0  # contexts; 0 means a quarter of the width


@dataclass(frozen=True)
class Frames(Config):
    """The state holds the last inputs."""

    window_size: int = 4  # tokens, with the present one


@dataclass(frozen=True)
class Attended(Config):
    """The state holds the last keys and values."""

    window_size: int = 20  # tokens, with the present one


Arguments = Callable[
    [Any, int], dict[str, Any]
]  # from our options and the width to the arguments of memax's constructor


@dataclass(frozen=True)
class Model:
    """A definition of a core."""

    cell: str  # a class below memax.equinox
    Config: type[Config]
    arguments: Arguments

    def make(self, config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
        """memax's `ResidualModel` of these cells.

        This imports memax as late as possible: its modules compute during import, which must not
        happen before JAX is set up, and every experiment reads the options of every core.

        Raises:
            ValueError: The model cannot have this width.
        """
        arguments = self.arguments(config, width)
        module, _, name = self.cell.rpartition(".")
        cell = getattr(importlib.import_module(f"memax.equinox.{module}"), name)

        from rlformers_memax.core import Memax

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


NMax = Model("semigroups.nmax.NMax", Config, _plain)  # the largest values so far
DLSE = Model("semigroups.dlse.DLSE", Config, _plain)  # a soft maximum of outer products
LinearRNN = Model("semigroups.lrnn.LinearRecurrent", Config, _plain)  # Martin & Cundy 2018: the sum of the inputs
LRU = Model("semigroups.lru.LRU", Vector, _vector)  # Orvieto et al. 2023: linear recurrent unit
S6 = Model("semigroups.s6.S6", Config, _plain_twice)  # Gu & Dao 2023: LRU with learned time steps
FFM = Model("semigroups.ffm.FFM", Traces, _traces)  # Morad et al. 2023: fading, turning traces
FART = Model("semigroups.fart.FART", Matrix, _matrix)  # Katharopoulos et al. 2020: linear attention
FWP = Model("semigroups.fwp.FWP", Matrix, _matrix)  # Irie & Gershman 2025: fast weights that add up
DeltaNet = Model("semigroups.delta.DeltaNet", Matrix, _matrix)  # Yang et al. 2024: fast weights that erase
GDN = Model("semigroups.gdn.GDN", Matrix, _matrix)  # Yang et al. 2025: gated DeltaNet
DeltaProduct = Model(
    "semigroups.deltap.DeltaProduct", Product, _product
)  # Siems et al. 2025: several changes per token
PSpherical = Model("semigroups.spherical.PSpherical", Matrix, _matrix)  # Biegun et al. 2024: rotations, in parallel
Spherical = Model("set_actions.spherical.Spherical", Config, _plain_twice)  # Biegun et al. 2024: a rotated vector
Stack = Model("semigroups.stack.Stack", Frames, _frames)  # the last inputs
Attention = Model("semigroups.attn.Attention", Attended, _attended(None))  # Vaswani et al. 2017: a window
Attention_RoPE = Model("semigroups.attn.Attention", Attended, _attended("rope"))  # Su et al. 2021: turned keys
Attention_ALiBi = Model("semigroups.attn.Attention", Attended, _attended("alibi"))  # Press et al. 2022: slopes
GRU = Model("set_actions.gru.GRU", Config, _plain)  # Cho et al. 2014: gated recurrent unit
MGU = Model("set_actions.mgu.MGU", Config, _plain)  # Zhou et al. 2016: minimal gated unit
LSTM = Model("set_actions.lstm.LSTM", Config, _plain)  # Hochreiter & Schmidhuber 1997: long short-term memory
Elman = Model("set_actions.elman.Elman", Vector, _vector)  # Elman 1990: tanh network
ElmanReLU = Model("set_actions.elman.Elman", Vector, _vector_relu)  # Elman 1990: the same with ReLU
