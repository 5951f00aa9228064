"""Depth: cores of the same width on top of each other."""

from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array, Bool, Float

from rlformers.cores.core import Core
from rlformers.cores.layers import LayerNorm, RMSNorm


class StackState(NamedTuple):
    """The memories of the layers, bottom first."""

    layers: tuple[Any, ...]


class Stack(Core[StackState]):
    """Feeds the output of each layer to the next. Residual paths are the layers' own affair, as in their papers."""

    layers: tuple[Core, ...]
    norm: LayerNorm | RMSNorm | None = None  # applied to the output of the last layer
    loops: int = eqx.field(static=True, default=1)  # passes through the same layers, each with memories of its own

    @property
    def window(self) -> int | None:
        """The sum of the layers' windows."""
        windows = [layer.window for layer in self.layers * self.loops]
        return None if None in windows else sum(window for window in windows if window is not None)

    def initial_state(self) -> StackState:
        """The empty memory of every layer."""
        return StackState(tuple(layer.initial_state() for layer in self.layers * self.loops))

    def step(
        self, state: StackState, x: Float[Array, " D"], start: Bool[Array, ""]
    ) -> tuple[StackState, Float[Array, " D"]]:
        """Consume one token."""
        new = []
        for layer, layer_state in zip(self.layers * self.loops, state.layers, strict=True):
            layer_state, x = layer.step(layer_state, x, start)
            new.append(layer_state)
        return StackState(tuple(new)), x if self.norm is None else self.norm(x)

    def scan(
        self, state: StackState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[StackState, Float[Array, "T D"]]:
        """Consume a segment, layer by layer."""
        new = []
        for layer, layer_state in zip(self.layers * self.loops, state.layers, strict=True):
            layer_state, xs = layer.scan(layer_state, xs, starts)
            new.append(layer_state)
        return StackState(tuple(new)), xs if self.norm is None else self.norm(xs)

    def prepare(self, state: StackState) -> StackState:
        """Refresh the caches of every layer."""
        pairs = zip(self.layers * self.loops, state.layers, strict=True)
        return StackState(tuple(layer.prepare(layer_state) for layer, layer_state in pairs))
