"""Measures how much the past matters to an agent: derivatives of its outputs with respect to earlier inputs."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from rlformers.agents.agent import Agent
from rlformers.agents.masks import without_mask

ROWS = 32  # derivatives that are computed at once; memory grows with this number


class Influence(NamedTuple):
    """Entry (t, s): the Frobenius norm of the derivative of the output at step t with respect to the input at step s.

    It is 0 where s > t or where a memory starts between the two steps.
    """

    value: Float[Array, "T T"]
    policy: Float[Array, "T T"]  # the output is the logits, or the means


def influence(agent: Agent, obs: Any, starts: Bool[Array, " T"]) -> Influence:
    """The influence of every step of a segment that begins with an empty memory, by reverse-mode differentiation.

    Args:
        agent: The agent; its `scan` is differentiated.
        obs: Observations as the agent gets them, leading axis T. Symbols count as one-hots.
        starts: Where the memory starts anew.
    """
    obs, mask = without_mask(obs)
    obs = agent.encoder.as_numbers(obs, num_leading=1)
    by_token = not _real(obs)
    inputs = agent.encoder(obs, num_leading=1) if by_token else obs
    A, T = agent.policy.num_outputs, len(starts)

    def said(inputs: Any) -> Float[Array, "T O"]:
        tokens = inputs if by_token else agent.encoder(inputs, num_leading=1)
        _, ys = agent.core.scan(agent.core.initial_state(), tokens, starts)
        output = agent.output(ys, mask)
        return jnp.concatenate([output.policy[:, :A], output.value[:, None]], axis=1)

    _, pull = jax.vjp(said, inputs)

    def squares(row: Array) -> Float[Array, " T"]:
        """Squared norms of the derivative of one output, by the step of the input."""
        (derivative,) = pull(jnp.zeros(T * (A + 1)).at[row].set(1).reshape(T, A + 1))
        leaves = [jnp.square(leaf).reshape(T, -1).sum(1) for leaf in jax.tree.leaves(derivative)]
        return jnp.stack(leaves).sum(0)

    rows = jax.lax.map(squares, jnp.arange(T * (A + 1)), batch_size=ROWS).reshape(T, A + 1, T)
    return Influence(jnp.sqrt(rows[:, A]), jnp.sqrt(rows[:, :A].sum(1)))


def differentiable(agent: Agent, obs: Any) -> bool:
    """Whether observations, leading axis T, have no images of integers. If so, the encoder's output replaces them."""
    return _real(jax.eval_shape(lambda obs: agent.encoder.as_numbers(obs, num_leading=1), without_mask(obs)[0]))


def _real(obs: Any) -> bool:
    return all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(obs))


def by_lag(matrix: Float[np.ndarray, "T T"], starts: Bool[np.ndarray, " T"]) -> Float[np.ndarray, " L"]:
    """Mean of the entries (t, t - lag) whose steps share a memory, for every lag with such a pair."""
    episode = np.cumsum(starts)
    T = len(starts)
    means = []
    for lag in range(T):
        together = episode[lag:] == episode[: T - lag]
        if not together.any():
            break
        means.append(np.diagonal(matrix, -lag)[together].mean())
    return np.array(means)


def lag_that_holds(profile: Float[np.ndarray, " L"], share: float) -> int | None:
    """The smallest lag up to which the profile adds up to this share of its sum; None if all entries are 0."""
    total = profile.sum()
    return int(np.argmax(np.cumsum(profile) >= share * total)) if total > 0 else None
