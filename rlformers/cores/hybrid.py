"""A stack of layers of several cores, such as Mamba and attention by turns (Lieber et al. 2024; De et al. 2024).

    core=stack core.layers=[mamba,transformer]

The pattern repeats `model.num_layers` times. Every place in it is a whole core of one layer with
its own parameters, built as if it were alone. What a core adds to its stack (LMUFormer's embedding,
positions since the start) comes at each place, and what it scales by its depth sees a depth of 1.
Places with the same core have the same options.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from rlformers.cores import registry
from rlformers.cores.core import Core
from rlformers.cores.stack import Stack
from rlformers.errors import UserError


@dataclass(frozen=True)
class Config:
    """Options of the stack. The cores themselves check and complete the options of its layers."""

    layers: tuple[str, ...] = ("mamba", "transformer")  # cores of the pattern, bottom first
    options: dict[str, Any] = field(default_factory=dict)  # options by core, e.g. {mamba: {state_size: 32}}

    def __post_init__(self) -> None:
        if not self.layers:
            raise UserError("core.layers: need at least one core, got []")
        if "stack" in self.layers:
            raise UserError("core.layers: a stack cannot contain 'stack'")
        configs = {}
        with _keys_of_layers():
            for name in dict.fromkeys(self.layers):
                registry.load(name)
        for name, options in _as_mapping("core.options", self.options).items():
            if name not in self.layers:
                raise UserError(f"core.options.{name}: need one of core.layers: {', '.join(self.layers)}")
            _as_mapping(f"core.options.{name}", options)
        for name in dict.fromkeys(self.layers):
            with _keys_of_layers(name):
                configs[name] = asdict(registry.make_config(name, self.options.get(name, {})))
        object.__setattr__(self, "options", configs)


def _as_mapping(key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{key}: need key=value pairs, got {value!r}")
    return value


@contextmanager
def _keys_of_layers(name: str = "") -> Iterator[None]:
    """Turn a core's own complaint, `core: ...` or `core.OPTION: ...`, into one about a layer."""
    try:
        yield
    except UserError as error:
        text = re.sub(r"^core:", "core.layers:", str(error))
        raise UserError(re.sub(r"(?<![\w.])core\.(?!layers\b)", f"core.options.{name}.", text)) from error


def make(config: Config, width: int, num_layers: int, key: PRNGKeyArray) -> Core:
    """The pattern, `num_layers` times.

    Raises:
        UserError: Options of a layer do not fit the width.
    """
    names = config.layers * num_layers
    layers: list[Core] = []
    for name, layer_key in zip(names, jax.random.split(key, len(names)), strict=True):
        with _keys_of_layers(name):
            core = registry.make_core(name, width, 1, key=layer_key, **config.options[name])
        layers += core.layers if isinstance(core, Stack) and core.loops == 1 else (core,)
    return Stack(tuple(layers))
