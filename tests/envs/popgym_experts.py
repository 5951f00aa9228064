"""Scripted policies for popgym's tasks, which remember what an agent could remember."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Expert(NamedTuple):
    """Sees what an agent sees: memory, act(key, memory, observation, last action or -1) -> action, memory."""

    memory: Any
    act: Any


def reciter(env):
    """Autoencode: a stack."""

    def act(key, memory, obs, last_action):
        shown, held, played = memory
        mode, suit = obs
        # The last card is shown with the mode in which it must be answered.
        shown, held = jnp.where(played, shown, shown.at[held].set(suit)), held + ~played
        playing = mode == 0
        return shown[held - 1], (shown, held - playing, playing)

    return Expert((jnp.zeros((env.num_cards,), jnp.int32), jnp.int32(0), jnp.bool_(False)), act)


def counter(env):
    """CountRecall: a count of each kind."""

    def act(key, counts, obs, last_action):
        counts = counts.at[obs[0]].add(1)
        return counts[obs[1]], counts

    return Expert(jnp.zeros((env.num_kinds,), jnp.int32), act)


def card_counter(env):
    """HigherLower: bet on the side on which more cards remain."""

    def act(key, remaining, rank, last_action):
        remaining = remaining.at[rank].add(-1)
        ranks = jnp.arange(len(remaining))
        higher, lower = (jnp.sum(remaining * side) for side in (ranks > rank, ranks < rank))
        return jnp.where(higher >= lower, 0, 1), remaining

    return Expert(env.full_deck(), act)


def threshold(env):
    """HigherLower without memory: bet on the side on which there are more ranks."""
    return Expert((), lambda key, memory, rank, last_action: (jnp.where(rank < 6, 0, 1), memory))


def first_suit(env):
    """RepeatFirst: one suit."""

    def act(key, memory, suit, last_action):
        answer = jnp.where(last_action < 0, suit, memory)
        return answer, answer

    return Expert(jnp.int32(0), act)


def window(env):
    """RepeatPrevious: the last k suits."""

    def act(key, recent, suit, last_action):
        recent = jnp.append(recent[1:], suit)
        return recent[0], recent

    return Expert(jnp.zeros((env.k,), jnp.int32), act)


def pair_finder(env):
    """Concentration: all cards seen; turn a known pair, else an unknown card and, if it is known, its like."""
    unknown = -1

    def act(key, memory, obs, last_action):
        known, matched, first = memory
        known = jnp.where(obs == env.num_kinds, known, obs)
        places = jnp.arange(env.num_cards)
        second = first >= 0
        match = second & (known[first] == known[last_action])
        matched = matched | (match & ((places == first) | (places == last_action)))
        first = jnp.where(second, -1, last_action)

        free = (known != unknown) & ~matched
        counts = jnp.sum((known == jnp.arange(env.num_kinds)[:, None]) & free, axis=1)
        in_pair = free & (counts[known] >= 2)
        like_first = free & (known == known[first]) & (places != first)
        good = jnp.where(first >= 0, like_first, in_pair)
        action = jnp.where(good.any(), jnp.argmax(good), jnp.argmax(known == unknown))
        return action, (known, matched, first)

    nothing = jnp.zeros((env.num_cards,), jnp.bool_)
    return Expert((jnp.where(nothing, 0, unknown), nothing, jnp.int32(-1)), act)


def thompson(env):
    """MultiarmedBandit: pull the arm that is best in a draw from the posterior, Beta(1, 1) before the first pull."""

    def act(key, counts, paid, last_action):
        counts = counts.at[last_action, paid].add(jnp.where(last_action < 0, 0, 1))
        return jnp.argmax(jax.random.beta(key, counts[:, 1], counts[:, 0])), counts

    return Expert(jnp.ones((env.num_bandits, 2), jnp.float32), act)


def _visited(env, last_action):
    """The tile of the last action as a mask [n²], empty before the first."""
    return jnp.arange(env.board_size**2) == last_action[0] * env.board_size + last_action[1]


def ship_hunter(env):
    """Battleship: the tile in most places of ships that cover no miss, each 20 times heavier for every hit."""
    n = env.board_size
    places = []
    for size in env.ship_sizes:
        for line, start in itertools.product(range(n), range(n - size + 1)):
            board = np.zeros((n, n), np.float32)
            board[line, start : start + size] = 1
            places += [board.ravel(), board.T.ravel()]
    places = jnp.array(places)

    def act(key, memory, obs, last_action):
        hits, misses = memory
        last = _visited(env, last_action)
        hits, misses = jnp.where(last, obs, hits), jnp.where(last, 1 - obs, misses)
        weight = jnp.where(places @ misses == 0, 20.0 ** (places @ hits), 0)
        score = jnp.where(hits + misses > 0, -1, weight @ places)
        return jnp.stack(jnp.divmod(jnp.argmax(score), n)), (hits, misses)

    return Expert((jnp.zeros(n * n, jnp.int32),) * 2, act)


def mine_avoider(env):
    """MineSweeper: all boards that agree with the numbers seen; click the tile that is a mine on fewest of them."""
    n = env.board_size
    mines = np.array(list(itertools.combinations(range(n * n), env.num_mines)))
    boards = np.zeros((len(mines), n, n), np.float32)
    boards.reshape(len(mines), -1)[np.arange(len(mines))[:, None], mines] = 1
    padded = np.pad(boards, ((0, 0), (1, 1), (1, 1)))
    numbers = sum(padded[:, i : i + n, j : j + n] for i, j in itertools.product(range(3), repeat=2))
    boards, numbers = (jnp.array(part.reshape(len(mines), -1)) for part in (boards, numbers))

    def act(key, memory, obs, last_action):
        possible, viewed = memory
        last = _visited(env, last_action)
        agrees = jnp.all(~last | ((boards == 0) & (numbers == obs)), axis=1)
        possible, viewed = possible & agrees, viewed | last
        risk = jnp.where(viewed, jnp.inf, possible @ boards)
        return jnp.stack(jnp.divmod(jnp.argmin(risk), n)), (possible, viewed)

    return Expert((jnp.ones(len(mines), jnp.bool_), jnp.zeros(n * n, jnp.bool_)), act)


def balancer(env):
    """VelocityOnlyCartPole: integrate the velocities from the positions of the reset, and feed all back."""
    tau = env.default_params.tau

    def act(key, memory, obs, last_action):
        start = last_action < 0
        positions, velocities = memory
        positions = jnp.where(start, obs, positions + tau * velocities)
        velocities = jnp.where(start, 0, obs)
        push = positions @ jnp.array([0.05, 1.0]) + velocities @ jnp.array([0.1, 0.25])
        return jnp.where(push > 0, 1, 0), (positions, velocities)

    return Expert((jnp.zeros(2), jnp.zeros(2)), act)
