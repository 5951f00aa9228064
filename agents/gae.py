"""Generalised advantage estimation (Schulman et al. 2016) that distinguishes four kinds of boundary."""

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def gae(
    rewards: Float[Array, " T *B"],
    values: Float[Array, " T *B"],
    final_values: Float[Array, " T *B"],
    last_value: Float[Array, "*B"],
    terminated: Bool[Array, " T *B"],
    truncated: Bool[Array, " T *B"],
    gamma: Float[Array, ""] | float,
    gae_lambda: Float[Array, ""] | float,
) -> Float[Array, " T *B"]:
    """Advantages A_t = δ_t + γ λ (1 - done_t) A_{t+1}, with δ_t = r_t + γ V'_{t+1} - V(o_t).

    V'_{t+1}, the value of the future after step t, is

    * 0 if step t terminated the episode (also if it reached the time limit at the same time),
    * `final_values[t]` if step t only truncated it: the value of the episode's last observation,
    * `last_value` after the last step of the segment,
    * `values[t + 1]` elsewhere.

    Each flag belongs to the last step of its episode.
    """
    chex.assert_equal_shape([rewards, values, final_values, terminated, truncated])
    chex.assert_shape(last_value, values.shape[1:])
    done = terminated | truncated
    next_values = jnp.concatenate([values[1:], last_value[None]])
    next_values = jnp.where(terminated, 0.0, jnp.where(truncated, final_values, next_values))
    deltas = rewards + gamma * next_values - values

    def accumulate(advantage: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, ended = step
        advantage = delta + gamma * gae_lambda * jnp.where(ended, 0.0, advantage)
        return advantage, advantage

    _, advantages = jax.lax.scan(accumulate, jnp.zeros_like(last_value), (deltas, done), reverse=True)
    return advantages
