"""Autoencode: recite the cards in reverse order (Morad et al. 2023; popgym 1.0.7 `autoencode.py`)."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import NoParams
from rlformers.envs.popgym.deck import CardGame
from rlformers.envs.spaces import Discrete, Tuple

PLAY, WATCH = 0, 1

Observation = tuple[Int32[Array, ""], Int32[Array, ""]]


class State(NamedTuple):
    """State of the game."""

    remaining: Int32[Array, "4"]  # cards left of each suit
    shown: Int32[Array, " N"]  # suits in the order they were shown; only the first num_held count
    num_held: Int32[Array, ""]  # cards shown and not recited yet


class Autoencode(CardGame):
    """The agent is shown the N cards of `num_decks` decks, then names their suits from the last to the first.

    Observations are (mode, suit), mode 1 while cards are shown (watch) and 0 while the agent
    recites (play). The step that shows the last card already says play: the first answer is that
    very card, and the next answers are the cards before. While playing, the suit shown is 0 and
    says nothing. Each answer earns ±1/N and watching earns 0, so returns lie in [-1, 1]. The N-th
    answer terminates the episode, after 2N - 1 steps. popgym's Easy, Medium, Hard are 1, 2, 3
    decks.
    """

    def __init__(self, num_decks: int = 1):
        super().__init__(num_decks, "suits")

    def reset_env(self, key: PRNGKeyArray, params: NoParams) -> tuple[Observation, State]:
        """Shuffle and show the first card."""
        suit, remaining = self.deal(key, self.full_deck())
        shown = jnp.zeros((self.num_cards,), jnp.int32).at[0].set(suit)
        return (jnp.int32(WATCH), suit), State(remaining, shown, jnp.int32(1))

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: NoParams
    ) -> tuple[Observation, State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Show the next card, or judge an answer."""
        watching = jnp.any(state.remaining)
        suit, remaining = self.deal(key, state.remaining)
        # All of `shown` in one pass: XLA's scatter is slower.
        pushed = jnp.where(jnp.arange(self.num_cards) == state.num_held, suit, state.shown)
        watched = State(remaining, pushed, state.num_held + 1)
        played = state._replace(num_held=state.num_held - 1)

        scale = jnp.float32(1 / self.num_cards)
        answer = jnp.where(action == state.shown[state.num_held - 1], scale, -scale)
        reward = jnp.where(watching, jnp.float32(0), answer)
        state = State(*(jnp.where(watching, *pair) for pair in zip(watched, played, strict=True)))
        mode = jnp.where(jnp.any(state.remaining), WATCH, PLAY).astype(jnp.int32)
        return (mode, jnp.where(watching, suit, 0)), state, reward, state.num_held == 0, {}

    def observation_space(self, params: NoParams) -> Tuple:
        """Mode and suit."""
        return Tuple((Discrete(2), Discrete(self.num_kinds)))
