"""Boolean functions in context (Bhattamishra et al. 2024, Understanding in-context learning in
transformers and LLMs by learning to learn discrete functions; the classes of their
`bool_tasks.py`).

n inputs are the low bits of one uint32, a term is a uint32 of the inputs that it reads and a uint32
of the values that satisfy them: to draw and to evaluate a function then costs a few instructions,
though every step does it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray, UInt32

from rlformers.envs.environment import Number, need_at_least
from rlformers.envs.memory.probe import Probe, mark
from rlformers.envs.spaces import Box
from rlformers.errors import UserError

# Inputs tried for a negative example. Three terms of 2 literals leave at least 1/4 of the inputs negative, so that at
# most 1 % of the negatives of the worst such function, and 0.02 % on average, come out positive.
CANDIDATES = 16


class Function(NamedTuple):
    """A hidden function."""

    reads: UInt32[Array, " m"]  # inputs that a term reads
    wants: UInt32[Array, " m"]  # their values that satisfy its literals
    threshold: Int32[Array, ""]  # uniform in {-3, ..., 2}; only BooleanThreshold reads it


class State(NamedTuple):
    """State of the task."""

    function: Function
    x: UInt32[Array, ""]  # the input to be labelled
    label: Int32[Array, ""]  # ±1, of the input before; 0 at the start
    time: Int32[Array, ""]  # examples labelled


@struct.dataclass
class Params:
    """Number T of examples."""

    examples: Number = 40

    def check(self) -> None:
        """Check the values.

        Raises:
            UserError: T below 1.
        """
        need_at_least("env_params.examples", self.examples, 1)


class BooleanTask(Probe):
    """The agent labels inputs x ∈ {-1, 1}ⁿ by an unknown function, and is told the right label after each answer.

    The observation, float32 [n + 1], is the input x_t and the label y_(t-1) ∈ {-1, 1} of the input
    before (0 at the first). As in the paper, a label comes one token after its input. Action 1 says
    positive, action 0 negative. Every episode draws a new function and has T steps; a right answer
    earns 1/T. The first answers are guesses, so the optimal return, that of Bayes' rule, is below
    1.

    Each term reads `relevant` inputs, any of them equally likely, and wants each to be 1 or -1 with
    equal probability. In the paper every input is read with probability 0.3 (0.2 in a DNF), n = 28;
    here the number is fixed, so that it can be swept, no term is empty and Bayes' rule can be
    computed.

    Args:
        n: Number of inputs.
        relevant: Number of inputs that a term reads.
        terms: Number of terms.

    Raises:
        UserError: `n` outside 2 ... 32, `relevant` outside 1 ... n, or `terms` below 1.
    """

    default_params = Params()

    def __init__(self, n: int, relevant: int, terms: int = 1):
        super().__init__(num_answers=2)
        if not 2 <= n <= 32:
            raise UserError(f"env_kwargs.n: need 2 <= n <= 32, got {n}")
        if not 1 <= relevant <= n:
            raise UserError(f"env_kwargs.relevant: need 1 <= relevant <= n = {n}, got {relevant}")
        need_at_least("env_kwargs.terms", terms, 1)
        self.n, self.relevant, self.terms = n, relevant, terms

    def evaluate(self, function: Function, x: UInt32[Array, ""]) -> Bool[Array, ""]:
        """Whether the function is true of x. By default: whether all literals of some term are."""
        return jnp.any(self.satisfied(function, x) == self.relevant)

    def satisfied(self, function: Function, x: UInt32[Array, ""]) -> Int32[Array, " m"]:
        """Number of true literals of every term."""
        return jax.lax.population_count(~(x ^ function.wants) & function.reads).astype(jnp.int32)

    def draw_function(self, key: PRNGKeyArray) -> Function:
        """A random function of the class."""
        bits = jax.random.bits(key, (self.terms, self.n + 2), jnp.uint32)  # one call: compile time grows with calls
        ranks = jnp.sum(bits[:, : self.n, None] > bits[:, None, : self.n], axis=-1)
        places = jnp.uint32(1) << jnp.arange(self.n, dtype=jnp.uint32)
        reads = jnp.sum(jnp.where(ranks < self.relevant, places, jnp.uint32(0)), axis=-1, dtype=jnp.uint32)
        threshold = (bits[0, self.n + 1] % 6).astype(jnp.int32) - 3
        return Function(reads, bits[:, self.n], threshold)

    def draw_input(self, key: PRNGKeyArray, function: Function) -> UInt32[Array, ""]:
        """A random input. By default: uniform."""
        return jax.random.bits(key, (), jnp.uint32)

    def reset_env(self, key: PRNGKeyArray, params: Params) -> tuple[Float32[Array, " n1"], State]:
        """Draw a function and its first input."""
        key_function, key_input = jax.random.split(key)
        function = self.draw_function(key_function)
        zero = jnp.zeros((), jnp.int32)
        state = State(function, self.draw_input(key_input, function), zero, zero)
        return self._observe(state), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: Params
    ) -> tuple[Float32[Array, " n1"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Judge the answer, then show the label and the next input."""
        positive = self.evaluate(state.function, state.x)
        reward = mark((action == 1) == positive, jnp.bool_(True), params.examples)
        label = jnp.where(positive, 1, -1).astype(jnp.int32)
        state = State(state.function, self.draw_input(key, state.function), label, state.time + 1)
        return self._observe(state), state, reward, state.time >= params.examples, {}

    def _observe(self, state: State) -> Float32[Array, " n1"]:
        bits = (state.x >> jnp.arange(self.n, dtype=jnp.uint32)) & 1
        x = jnp.where(bits == 1, 1.0, -1.0)
        return jnp.append(x, state.label).astype(jnp.float32)

    def observation_space(self, params: Params) -> Box:
        """Input and last label."""
        return Box(-1.0, 1.0, (self.n + 1,), jnp.float32)


class BooleanDNF(BooleanTask):
    """y = 1 if all literals of any of the terms are true.

    Half of the examples are positive: a term is picked and its literals are made true, the other
    inputs are uniform; the other half is uniform over the negative inputs (looked for among 16;
    functions with hardly any negative input, of many terms of one literal, have more positive
    examples). Without memory the return is 0.5: each input looks the same under all functions
    together, and labels are independent coin flips. (In the paper 35 % of the examples are made
    positive, all by the same term, and the rest is uniform: there a constant answer is right more
    often.)
    """

    def __init__(self, n: int = 10, relevant: int = 2, terms: int = 3):
        super().__init__(n, relevant, terms)

    def draw_input(self, key: PRNGKeyArray, function: Function) -> UInt32[Array, ""]:
        """A positive or a negative input, each with probability 1/2."""
        bits = jax.random.bits(key, (CANDIDATES + 2,), jnp.uint32)
        candidates, coin, term = bits[:CANDIDATES], bits[-2], bits[-1] % self.terms
        negative = ~jax.vmap(self.evaluate, (None, 0))(function, candidates)
        reads, wants = function.reads[term], function.wants[term]
        made_true = (candidates[0] & ~reads) | (wants & reads)
        return jnp.where(coin % 2 == 1, made_true, candidates[jnp.argmax(negative)])


class BooleanConjunction(BooleanDNF):
    """y = 1 if all literals are true: a DNF of one term, and its examples (the paper makes 30 % positive)."""

    def __init__(self, n: int = 10, relevant: int = 3):
        super().__init__(n, relevant, terms=1)


class BooleanSparseParity(BooleanTask):
    """y = 1 if an odd number of the relevant inputs is 1. Inputs are uniform, half of the labels are positive.

    Without memory there is but what the number of ones says about parities: 0.555 with 2 of 10
    inputs.
    """

    def __init__(self, n: int = 10, relevant: int = 2):
        super().__init__(n, relevant)

    def evaluate(self, function: Function, x: UInt32[Array, ""]) -> Bool[Array, ""]:
        """Whether x has an odd number of ones where the function reads it."""
        return jax.lax.population_count(x & function.reads)[0] % 2 == 1


class BooleanThreshold(BooleanTask):
    """y = 1 if Σ wᵢ xᵢ > θ with w ∈ {-1, 0, 1}ⁿ, θ uniform in {-5/2, -3/2, ..., 5/2}; inputs are uniform.

    Over all functions half of the labels are positive. Each single function may be lopsided, hence without memory the
    best answer is the last label, right with probability E[p² + (1 - p)²], p being the function's rate of positives:
    0.630 with 5 relevant inputs. The first answer is a guess, hence 0.627 over 40 examples.
    """

    def __init__(self, n: int = 10, relevant: int = 5):
        super().__init__(n, relevant)

    def evaluate(self, function: Function, x: UInt32[Array, ""]) -> Bool[Array, ""]:
        """Whether the weighted sum is above θ = threshold + 1/2."""
        weighted_sum = 2 * self.satisfied(function, x)[0] - self.relevant
        return weighted_sum > function.threshold
