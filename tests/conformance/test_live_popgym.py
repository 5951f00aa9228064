"""Episodes of the installed popgym, replayed in our ports with their hidden state: every step must agree.

pip install -e '.[dev,oracles]'
pytest -m slow tests/conformance/test_live_popgym.py
"""

import jax
import numpy as np
import pytest
from popgym_episodes import Episode
from popgym_inject import INJECT
from record_pendulums import swing_up_and_balance
from replay_popgym import replay

popgym = pytest.importorskip("popgym", reason="needs pip install 'rlformers[oracles]'")

NUM_EPISODES = 6


def _deal_order(deck, kinds):
    """Kinds of the cards of a deck, the first dealt first: popgym deals from its end."""
    return kinds[deck.idx[::-1]]


def _suits(env):
    return {"h_cards": _deal_order(env.deck, env.deck.suits_idx)}


def _state(env):
    return {"h_state0": np.array(env.state, np.float64)}


def _labyrinth(env):
    return {"h_grid": env.maze.grid.copy(), "h_start": np.array(env.maze.start), "h_end": np.array(env.maze.end)}


# What each family hides, read after the reset.
HIDDEN = {
    "RepeatFirst": _suits,
    "RepeatPrevious": _suits,
    "Autoencode": _suits,
    "HigherLower": lambda env: {"h_cards": _deal_order(env.deck, env.deck.ranks_idx)},
    "CountRecall": lambda env: {
        "h_value": _deal_order(env.value_deck, env.deck_idx_type),
        "h_query": _deal_order(env.query_deck, env.deck_idx_type),
    },
    "PositionOnlyCartPole": _state,
    "PositionOnlyPendulum": _state,
    "VelocityOnlyCartPole": _state,
    "NoisyPositionOnlyCartPole": _state,
    "NoisyPositionOnlyPendulum": _state,
    "MultiarmedBandit": lambda env: {"h_payouts": env.bandits.copy()},
    "Concentration": lambda env: {"h_cards": env.deck_idx_type[env.deck.idx]},
    "Battleship": lambda env: {"h_board": env.board.copy()},
    "MineSweeper": lambda env: {"h_mines": env.hidden_grid.copy(), "h_neighbors": env.neighbor_grid.copy()},
    "LabyrinthExplore": _labyrinth,
    "LabyrinthEscape": _labyrinth,
}


def _a_tile(rng, good):
    """One of the good tiles, if there is one."""
    tiles = np.argwhere(good if good.any() else ~good)
    return tiles[rng.integers(len(tiles))]


def _to_a_new_square(rng, env):
    """The first move of a shortest way to a square not visited yet, if there is one."""
    here = env.position
    first_move, queue = {here: 0}, [here]
    for square in queue:
        if not env.explored[square]:
            break
        env.position = square
        for move in rng.permutation(4):
            to = env.move(move)
            if to not in first_move:
                first_move[to] = move if square == here else first_move[square]
                queue.append(to)
    env.position = here
    return first_move[square]


# Players who know the hidden state and sometimes forget it: random ones never win these games, nor
# balance.
GUIDED = {
    "Battleship": lambda rng, env: _a_tile(rng, (env.board == 1) & (env.guesses == 0)),
    "MineSweeper": lambda rng, env: _a_tile(rng, env.hidden_grid == 0),
    "LabyrinthExplore": _to_a_new_square,
    "LabyrinthEscape": _to_a_new_square,
    "PositionOnlyPendulum": lambda rng, env: swing_up_and_balance(*env.state),
    "NoisyPositionOnlyPendulum": lambda rng, env: swing_up_and_balance(*env.state),
}


def _row(obs):
    return np.concatenate([np.ravel(part) for part in (obs if isinstance(obs, tuple) else (obs,))])


def _play(env, family, seed):
    """An episode under random actions, or, if the seed is odd, mostly those of a player who knows."""
    rng = np.random.default_rng(seed)
    env.action_space.seed(seed)
    obs = [_row(env.reset(seed=seed)[0])]
    hidden = HIDDEN[family](env)
    actions, rewards, states, ended = [], [], [], False
    while not ended:
        guided = family in GUIDED and seed % 2 and rng.random() < 0.95
        action = GUIDED[family](rng, env) if guided else env.action_space.sample()
        shown, reward, terminated, truncated, _ = env.step(action)
        ended = terminated or truncated
        obs.append(_row(shown))
        actions.append(np.ravel(action))
        rewards.append(reward)
        if family.startswith("Noisy"):
            states.append(np.array(env.state, np.float64))
    if states:
        hidden["h_states"] = np.stack(states)
    return Episode(np.stack(obs), np.stack(actions), np.array(rewards), np.array([terminated, truncated]), hidden)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["Easy", "Medium", "Hard"])
@pytest.mark.parametrize("family", INJECT)
def test_the_port_replays_the_installed_original(family, level):
    constructor = getattr(popgym.envs, family + level, None)
    if constructor is None:
        pytest.skip("needs mazelib: pip install 'popgym[navigation]'")
    env = constructor()
    episodes = [_play(env, family, seed) for seed in range(NUM_EPISODES)]
    with jax.enable_x64(True):  # popgym's physics is float64
        assert replay(family + level, episodes) == [[]] * NUM_EPISODES
