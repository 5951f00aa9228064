"""The models of the package memax (Morad et al. 2025) as cores.

memax provides the cells, their initial parameters and carried state, the parallel form over a
segment, and the block around each cell. This package chooses the empty state at a start and splits
numbers from everything else. Its README lists the models that break a law of cores.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree
from memax.equinox.models.residual import ResidualModel

from rlformers.cores.core import Core


class MemaxState(NamedTuple):
    """memax's carry without its flag for starts, which matters only within a segment."""

    layers: tuple[PyTree, ...]


class Memax(Core[MemaxState]):
    """memax's `ResidualModel`: linear; per layer: cell, linear, LayerNorm, leaky ReLU; then linear."""

    numbers: PyTree
    rest: Any = eqx.field(static=True)  # sizes and functions
    reach: int | None = eqx.field(static=True)

    def __init__(
        self,
        make_cell: Callable[[PRNGKeyArray], Any],
        width: int,
        num_layers: int,
        window: int | None,
        *,
        key: PRNGKeyArray,
    ):
        model = ResidualModel(
            lambda recurrent_size, key: with_reset(make_cell(key)), width, width, width, num_layers, key=key
        )
        # Static fields must be hashable, and lists are not.
        model = eqx.tree_at(lambda m: (m.layers, m.ff), model, (tuple(model.layers), tuple(model.ff)))
        self.numbers, self.rest = eqx.partition(model, eqx.is_array)
        self.reach = window

    @property
    def window(self) -> int | None:
        """Finite for the models that keep a sliding window of tokens."""
        return self.reach

    def initial_state(self) -> MemaxState:
        """The initial carry of memax."""
        return MemaxState(tuple(state for state, _ in self._model().initialize_carry()))

    def scan(
        self, state: MemaxState, xs: Float[Array, "T D"], starts: Bool[Array, " T"]
    ) -> tuple[MemaxState, Float[Array, "T D"]]:
        """Consume a segment: in parallel where memax's operator is associative, else token by token."""
        model = self._model()
        carries, ys = model(tuple((layer, jnp.zeros((), bool)) for layer in state.layers), (xs, starts))
        return MemaxState(tuple(layer for layer, _ in model.latest_recurrent_state(carries))), ys

    def _model(self) -> Any:
        return eqx.combine(self.numbers, self.rest)


class Reset(eqx.Module):
    """memax's `Resettable`, but a start chooses the empty state. memax multiplies by 0, which NaN and Inf survive."""

    algebra: Any  # from memax: (state, action) -> state

    def __call__(self, carry: tuple[PyTree, Array], action: tuple[PyTree, Array]) -> tuple[PyTree, Array]:
        """Apply an action to a state, or several that a parallel scan has combined."""
        (state, started), (change, start) = carry, action
        state = jax.tree.map(lambda empty, x: jnp.where(start, empty, x), self.algebra.initialize_carry(), state)
        return self.algebra(state, change), started | start

    def initialize_carry(self, key: None = None) -> tuple[PyTree, Array]:
        """The empty state."""
        return self.algebra.initialize_carry(key), jnp.zeros((), bool)


def with_reset(cell: Any) -> Any:
    """A cell of memax with our `Reset` in place of memax's."""
    return eqx.tree_at(lambda cell: cell.algebra, cell, Reset(cell.algebra.algebra))
