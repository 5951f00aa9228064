"""Stacks of cores of the same width."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array, ArrayLike, Bool, Complex, Float

from rlformers.cores.core import Core
from rlformers.cores.layers import FeedForward, Norm
from rlformers.cores.linear_scan import scan_chunks


class StackState(NamedTuple):
    """The memories of the layers, bottom first."""

    layers: tuple[Any, ...]


class Stack(Core[StackState]):
    """Feeds the output of each layer to the next. Layers add their own residual paths, as in their papers."""

    layers: tuple[Core, ...]
    loops: int = eqx.field(static=True, default=1)  # passes through the same layers, each with its own memories

    @property
    def window(self) -> int | None:
        """The sum of the layers' windows."""
        windows = [layer.window for layer in self.layers * self.loops]
        return None if None in windows else sum(window for window in windows if window is not None)

    def initial_state(self) -> StackState:
        """The empty memory of every layer."""
        return StackState(tuple(layer.initial_state() for layer in self.layers * self.loops))

    def step(
        self, state: StackState, x: Float[Array, " D"], start: Bool[ArrayLike, ""]
    ) -> tuple[StackState, Float[Array, " D"]]:
        """Consume one token."""
        new = []
        for layer, layer_state in zip(self.layers * self.loops, state.layers, strict=True):
            layer_state, x = layer.step(layer_state, x, start)
            new.append(layer_state)
        return StackState(tuple(new)), x

    def scan(
        self, state: StackState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[StackState, Float[Array, "T D"]]:
        """Consume a segment, layer by layer."""
        new = []
        for layer, layer_state in zip(self.layers * self.loops, state.layers, strict=True):
            layer_state, xs = layer.scan(layer_state, xs, starts)
            new.append(layer_state)
        return StackState(tuple(new)), xs

    def prepare(self, state: StackState) -> StackState:
        """Refresh the caches of every layer."""
        pairs = zip(self.layers * self.loops, state.layers, strict=True)
        return StackState(tuple(layer.prepare(layer_state) for layer, layer_state in pairs))

    def attention(
        self, state: StackState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Float[Array, "H T J"], ...]:
        """The weights of all layers."""
        return tuple(
            weights for layer, *inputs in self._inputs(state, xs, starts) for weights in layer.attention(*inputs)
        )

    def eigenvalues(
        self, state: StackState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """The eigenvalues of all layers."""
        return tuple(
            values for layer, *inputs in self._inputs(state, xs, starts) for values in layer.eigenvalues(*inputs)
        )

    def _inputs(
        self, state: StackState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> Iterator[tuple[Core, Any, Array, Array]]:
        """Every layer with its memory and its inputs."""
        for layer, layer_state in zip(self.layers * self.loops, state.layers, strict=True):
            yield layer, layer_state, xs, starts
            _, xs = layer.scan(layer_state, xs, starts)


class Residual(Core[Any]):
    """A core on a residual path, as in its paper: x' = x + core(norm(x)), y = x' + FF(norm_ffn(x')).

    With `piece`, `scan` splits longer segments into pieces of so many tokens (`scan_chunks`).
    """

    norm: Norm
    core: Core
    norm_ffn: Norm | None = None  # without it and `ffn`, y = x'
    ffn: FeedForward | None = None
    piece: int | None = eqx.field(static=True, default=None)

    @property
    def window(self) -> int | None:
        """The core's window."""
        return self.core.window

    def initial_state(self) -> Any:
        """The empty memory of the core."""
        return self.core.initial_state()

    def step(self, state: Any, x: Float[Array, " D"], start: Bool[ArrayLike, ""]) -> tuple[Any, Float[Array, " D"]]:
        """Consume one token."""
        state, y = self.core.step(state, self.norm(x), start)
        return state, self._finish(x + y)

    def scan(self, state: Any, xs: Float[Array, "T D"], starts: Bool[Array, " T"]) -> tuple[Any, Float[Array, "T D"]]:
        """Consume a segment."""
        return scan_chunks(self._consume, state, (xs, starts), self.piece or len(xs))

    def prepare(self, state: Any) -> Any:
        """Refresh the caches of the core."""
        return self.core.prepare(state)

    def attention(
        self, state: Any, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Float[Array, "H T J"], ...]:
        """The core's weights."""
        return self.core.attention(state, self.norm(xs), starts)

    def eigenvalues(
        self, state: Any, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[Complex[Array, "#T N"], ...]:
        """The core's eigenvalues."""
        return self.core.eigenvalues(state, self.norm(xs), starts)

    def _consume(
        self, state: Any, tokens: tuple[Float[Array, "T D"], Bool[Array, " T"]]
    ) -> tuple[Any, Float[Array, "T D"]]:
        xs, starts = tokens
        state, ys = self.core.scan(state, self.norm(xs), starts)
        return state, self._finish(xs + ys)

    def _finish(self, x: Float[Array, "*T D"]) -> Float[Array, "*T D"]:
        return x if self.norm_ffn is None or self.ffn is None else x + self.ffn(self.norm_ffn(x))
