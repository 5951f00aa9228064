"""DelayLine: at every step, name the symbol of k steps ago."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray, UInt32

from rlformers.envs.environment import Number, need_at_least
from rlformers.envs.memory.probe import Probe, draw_seed, mark, symbol
from rlformers.envs.spaces import Discrete


class State(NamedTuple):
    """State of the task."""

    seed: UInt32[Array, "2"]  # of the symbols
    time: Int32[Array, ""]  # steps made


@struct.dataclass
class Params:
    """Delay k and number N of answers."""

    delay: Number = 8
    answers: Number = 64

    def check(self) -> None:
        """Check the values.

        Raises:
            UserError: One of them is below 1.
        """
        need_at_least("env_params.delay", self.delay, 1)
        need_at_least("env_params.answers", self.answers, 1)


class DelayLine(Probe):
    """A stream of independent random symbols; the agent repeats it k steps late.

    Observations and actions are Discrete(V). The answer after the observation o_t is o_(t-k);
    before t = k nothing is asked. Episodes have k + N steps; a right answer earns 1/N: the optimal
    return is 1, without memory 1/V. Unlike the cards of popgym/RepeatPrevious, symbols that were
    shown tell nothing about those to come, k may be any number, and the number of answers does not
    shrink with it.

    Args:
        num_symbols: V.

    Raises:
        ValueError: V below 2.
    """

    default_params = Params()

    def __init__(self, num_symbols: int = 4):
        super().__init__(num_answers=num_symbols)
        need_at_least("env_kwargs.num_symbols", num_symbols, 2)

    def reset_env(self, key: PRNGKeyArray, params: Params) -> tuple[Int32[Array, ""], State]:
        """Show the first symbol."""
        state = State(draw_seed(key), jnp.zeros((), jnp.int32))
        return symbol(state.seed, state.time, self.num_answers), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: Params
    ) -> tuple[Int32[Array, ""], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Judge the answer, then show the next symbol."""
        lagged = state.time - params.delay
        right = action == symbol(state.seed, lagged, self.num_answers)
        reward = mark(right, lagged >= 0, params.answers)
        state = state._replace(time=state.time + 1)
        terminated = state.time >= params.delay + params.answers
        return symbol(state.seed, state.time, self.num_answers), state, reward, terminated, {}

    def observation_space(self, params: Params) -> Discrete:
        """The symbols."""
        return Discrete(self.num_answers)
