"""What the probes of memory share: questions with a right answer, and symbols that are never stored.

A probe shows a stream of observations and asks for something that was shown before. The return of
an episode is the fraction of right answers, so 1 is perfect at any length. Answers are ignored
while nothing is asked. Observations are discrete where possible; the wrapper `Flatten` turns them
into one-hot vectors.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32, PRNGKeyArray, UInt32

from rlformers.envs.environment import PlainEnvironment
from rlformers.envs.spaces import Discrete


class Probe(PlainEnvironment):
    """A task of discrete answers that ends by itself.

    Args:
        num_answers: Size of the action space.
    """

    never_truncates = True

    def __init__(self, num_answers: int):
        self.num_answers = num_answers

    def action_space(self, params: Any = None) -> Discrete:
        """The answer."""
        return Discrete(self.num_answers)


def mark(right: Any, asked: Any, num_questions: Any) -> Float32[Array, ""]:
    """Reward of an answer: 1/num_questions if it was asked for and is right, else 0."""
    return jnp.where(asked & right, 1 / jnp.asarray(num_questions, jnp.float32), 0.0).astype(jnp.float32)


def draw_seed(key: PRNGKeyArray) -> UInt32[Array, "2"]:
    """The seed of an episode's symbols."""
    return jax.random.bits(key, (2,), jnp.uint32)


def symbol(seed: UInt32[Array, "2"], index: Any, num_symbols: int) -> Int32[Array, ""]:
    """Symbol number `index` >= 0 of an episode, independent and uniform in {0, ..., num_symbols - 1}.

    A symbol is a hash of (seed, index). So the state does not hold the sequence, which may be as
    long as one likes, and a reset, which happens inside every step, does not draw it. The
    remainder's bias is below num_symbols / 2³².
    """
    key = jax.random.fold_in(jax.random.wrap_key_data(seed, impl="threefry2x32"), jnp.maximum(index, 0))
    return (jax.random.bits(key, (), jnp.uint32) % num_symbols).astype(jnp.int32)
