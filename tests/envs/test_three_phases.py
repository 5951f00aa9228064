"""KeyToDoor and VisualMatch: replay of episodes that the originals played on pycolab, and scripted players.

`tests/data/memory/three_phases.npz` holds, for 6 episodes of each game, observations, rewards, actions, what was drawn
at the start, and (three phases, apples, respawn time, final reward): half random, half attracted by what is in view.
"""

from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest

from rlformers.envs.memory import key_to_door, three_phases, visual_match
from rlformers.envs.memory.scores import most_apples
from rlformers.envs.registry import entries, make_env, replace_params
from rlformers.envs.scores import known_scores

DATA = np.load(Path(__file__).parents[1] / "data/memory/three_phases.npz")
EPISODES = 120  # of every run, so that a game is compiled once
MOVES = [(-1, 0), (1, 0), (0, -1), (0, 1)]
COLOURS = {tuple(colour): code for code, colour in reversed(list(enumerate(three_phases.COLOURS.tolist())))}


class Game:
    """Compiled, for EPISODES episodes with params of their own."""

    def __init__(self, name):
        self.name = name
        self.env, self.params = make_env(f"memory/{name}", raw=True)
        self.reset, self.step = jax.jit(jax.vmap(self.env.reset_env)), jax.jit(jax.vmap(self.env.step_env))
        self.observe = jax.jit(jax.vmap(self.env._observe))
        self.keys = jax.random.split(jax.random.key(5), EPISODES)

    def batch(self, changes):
        """Params: the changes of the first episodes, then the last of them again and again."""
        rows = [replace_params(self.params, **change) for change in changes]
        return jax.tree.map(lambda *x: np.array(x), *rows, *rows[-1:] * (EPISODES - len(rows)))


@pytest.fixture(scope="module", params=["KeyToDoor", "VisualMatch"])
def game(request):
    return Game(request.param)


def test_recorded_episodes_replay(game):
    recorded = [
        {key: DATA[f"{game.name}/{i}/{key}"] for key in ("obs", "reward", "action", "config")} for i in range(6)
    ]
    fields = ("explore_steps", "distractor_steps", "reward_steps", "num_apples", "respawn_steps")
    params = game.batch(
        [
            dict(zip(fields, map(int, row["config"]), strict=False)) | {"final_reward": float(row["config"][5])}
            for row in recorded
        ]
    )

    def drawn(key):
        return np.stack([DATA[f"{game.name}/{i % 6}/{key}"] for i in range(EPISODES)]).astype(np.int32)

    state = game.reset(game.keys, params)[1]
    state = state._replace(apples=drawn("apples")[:, *three_phases.APPLES.T] == 1)
    if game.name == "KeyToDoor":
        state = state._replace(scene=state.scene._replace(key=drawn("key")), position=drawn("start"))
    else:
        state = state._replace(scene=state.scene._replace(shown_at=drawn("shown"), colour=drawn("target")))
    obs = game.observe(state, params)
    for time in range(max(len(row["action"]) for row in recorded)):
        actions = np.zeros(EPISODES, np.int32)
        going_on = [(i, row) for i, row in enumerate(recorded) if time < len(row["action"])]
        for i, row in going_on:
            np.testing.assert_array_equal(obs[i], row["obs"][time], err_msg=f"episode {i}, step {time}")
            actions[i] = row["action"][time]
        obs, state, rewards, ends, _ = game.step(game.keys, state, actions, params)
        for i, row in going_on:
            assert float(rewards[i]) == row["reward"][time], f"episode {i}, step {time}"
            assert bool(ends[i]) == (time == len(row["action"]) - 1)
            if ends[i]:
                np.testing.assert_array_equal(obs[i], row["obs"][-1])


def test_what_is_drawn(game):
    params = game.batch([{}])
    states = [game.reset(jax.random.split(jax.random.key(i), EPISODES), params)[1] for i in range(8)]
    state = jax.tree.map(lambda *x: np.concatenate(x), *states)
    count = 8 * EPISODES
    assert (state.apples.sum(1) == 10).all()
    assert abs(state.apples.mean(0) - 10 / 22).max() < 4.5 * 0.5 / np.sqrt(count)
    if game.name == "KeyToDoor":
        for places, rows in ((state.scene.key, (1, 2)), (state.position, (4, 5))):
            cells, counts = np.unique(places, axis=0, return_counts=True)
            assert cells.tolist() == [[row, column] for row in rows for column in range(3, 8)]
            assert abs(counts / count - 0.1).max() < 4.5 * 0.3 / np.sqrt(count)
    else:
        cells, counts = np.unique(state.scene.shown_at - 2 * np.array([[1, 1]]), axis=0, return_counts=True)
        assert cells.tolist() == [[r, c] for r in (-1, 0, 1) for c in (2, 3, 4) if (r, c) != (0, 3)]
        assert abs(counts / count - 1 / 8).max() < 4.5 * np.sqrt(7 / 64 / count)
        assert abs(np.bincount(state.scene.colour) / count - 1 / 3).max() < 4.5 * np.sqrt(2 / 9 / count)


class Player:
    """Knows the rooms and the rules, sees the observations, and works out where it is."""

    def __init__(self, name, env, with_memory=True):
        self.name, self.rooms, self.with_memory = name, env.rooms, with_memory
        self.starts = [None if name == "KeyToDoor" else visual_match.CELL_START, three_phases.ORCHARD_START]
        self.starts.append((3, 5) if name == "KeyToDoor" else (5, 5))
        self.time, self.colour, self.apples, self.eaten = 0, 0, {}, {}

    def act(self, obs):
        """An action for the observation uint8 [5, 5, 3]."""
        view = np.array([[COLOURS[tuple(cell)] for cell in row] for row in obs.tolist()])
        phase = (self.time >= 15) + (self.time >= 75)
        if self.time in (0, 15, 75):
            self.position = self.starts[phase] or self.locate(view)
        self.time += 1
        around = {(self.position[0] + i - 2, self.position[1] + j - 2): view[i, j] for i in range(5) for j in range(5)}
        seen = {code: cell for cell, code in around.items()}
        if phase == 0:
            self.colour = max((i for i in range(3) if three_phases.RED + i in seen), default=0)
            goal = seen.get(three_phases.KEY, (3, 5)) if self.name == "KeyToDoor" else self.position
        elif phase == 1:
            goal = self.next_apple(around)
        else:
            goal = visual_match.PANELS[self.colour if self.with_memory else 0]
            goal = key_to_door.DOOR_AT if self.name == "KeyToDoor" else goal
        panels = visual_match.PANELS if self.name == "VisualMatch" and phase == 2 else ()
        return self.towards(goal, phase, panels)

    def locate(self, view):
        """Where in the first room the walls look like this."""
        walls = view == three_phases.WALL
        rows, columns = np.where(self.rooms[0][2:-2, 2:-2] == three_phases.FLOOR)
        starts = [(r, c) for r, c in zip(rows, columns, strict=True) if 3 <= c <= 7 and 4 <= r <= 5]
        (place,) = [
            (r, c) for r, c in starts if ((self.rooms[0][r : r + 5, c : c + 5] == three_phases.WALL) == walls).all()
        ]
        return place

    def next_apple(self, around):
        """The place that pays soonest: an apple that is there or will be back, or a place not seen yet."""
        for cell in map(tuple, three_phases.APPLES.tolist()):
            if cell in around and cell != self.position:
                self.apples[cell] = around[cell] == three_phases.APPLE
        distance = lambda cell: abs(cell[0] - self.position[0]) + abs(cell[1] - self.position[1])  # noqa: E731
        costs = {}
        for cell in map(tuple, three_phases.APPLES.tolist()):
            if self.apples.get(cell):
                costs[cell] = distance(cell)
            elif cell in self.eaten:
                costs[cell] = max(distance(cell), self.eaten[cell] + 22 - self.time + 1)
            elif cell not in self.apples:
                costs[cell] = distance(cell) + 1
        costs.pop(self.position, None)
        return min(costs, key=costs.get, default=(3, 5))

    def towards(self, goal, phase, avoid):
        """First action of a shortest path; the player then is where that leads."""
        far = distances(self.rooms[phase].tobytes(), goal, avoid)
        steps = [(self.position[0] + move[0], self.position[1] + move[1]) for move in MOVES]
        action = min(range(4), key=lambda a: far.get(steps[a], 1000))
        if steps[action] in far:
            self.position = steps[action]
        if phase == 1 and self.apples.pop(self.position, False):
            self.eaten[self.position] = self.time
        return action


@cache
def distances(room, goal, avoid):
    """Steps to the goal from every cell, by breadth-first search; cells to avoid count as far away."""
    room = np.frombuffer(room, np.int32).reshape(11, 15)
    found, queue = dict.fromkeys(avoid, 100) | {goal: 0}, [goal]
    for cell in queue:
        for move in MOVES:
            near = (cell[0] + move[0], cell[1] + move[1])
            inside = 0 <= near[0] < 7 and 0 <= near[1] < 11
            if inside and near not in found and room[near[0] + 2, near[1] + 2] != three_phases.WALL:
                found[near] = found[cell] + 1
                queue.append(near)
    return found


def play(game, params, with_memory=True):
    """Returns of scripted players, and what of them came from the last phase."""
    obs, state = game.reset(game.keys, params)
    players = [Player(game.name, game.env, with_memory) for _ in range(EPISODES)]
    rewards = []
    for _ in range(75 + game.params.reward_steps):
        actions = np.array([player.act(view) for player, view in zip(players, np.asarray(obs), strict=True)], np.int32)
        obs, state, reward, _, _ = game.step(game.keys, state, actions, params)
        rewards.append(np.asarray(reward))
    return sum(rewards), sum(rewards[75:])


def test_scripted_players_reach_the_stated_return(game):
    params = game.batch([{"apple_reward": 0.0}] * 40 + [{}])
    total, final = play(game, params)
    assert (final == 5).all() and (total[:40] == 5).all()
    greedy = total[40:]
    stated, bound = map(float, entries()[f"memory/{game.name}"].best_in_words.split(" to "))
    assert abs(greedy.mean() - stated) < 4 * greedy.std() / np.sqrt(len(greedy))
    assert greedy.max() <= bound == known_scores(f"memory/{game.name}").ceiling
    assert known_scores(f"memory/{game.name}", env_params={"apple_reward": 0.0}).ceiling == 5
    if game.name == "VisualMatch":
        _, final = play(game, params, with_memory=False)
        assert set(final) == {0, 5} and abs(final.mean() - 5 / 3) < 4 * final.std() / np.sqrt(EPISODES)
        assert known_scores("memory/VisualMatch", env_params={"apple_reward": 0.0}).memoryless == 5 / 3


def test_the_bound_on_apples_is_reached(game):
    """By a walk along a diagonal full of them, and by going to and fro between a single one and its neighbour."""
    changes = [{"explore_steps": 1, "num_apples": 22}, {"explore_steps": 1, "num_apples": 1, "respawn_steps": 4}]
    obs, state = game.reset(game.keys, game.batch(changes))
    only = (three_phases.APPLES == (4, 4)).all(1)
    state = state._replace(apples=np.where(np.arange(EPISODES)[:, None] == 0, True, only))
    # North and west in turn from (5, 5), up to the corner (1, 1); and north, west, then east and west for ever.
    walks = np.zeros((EPISODES, 41), np.int32)
    walks[0, 1:9] = [0, 2] * 4
    walks[1:, 1:] = [0, 2] + [3, 2] * 19
    total = np.zeros((EPISODES, 41))
    for time, actions in enumerate(walks.T):
        _, state, total[:, time], _, _ = game.step(game.keys, state, actions, game.batch(changes))
    for steps in range(1, 9):
        assert total[0, : steps + 1].sum() == most_apples(steps, 22, 20) == steps // 2
    for steps in range(1, 41):
        assert total[1, : steps + 1].sum() == most_apples(steps, 1, 4) == (steps - 2) // 6 + 1


def test_bounds_follow_the_params():
    assert (three_phases.APPLES.sum(1) % 2 == sum(three_phases.ORCHARD_START) % 2).all()
    assert not (three_phases.APPLES == three_phases.ORCHARD_START).all(1).any()
    assert most_apples(60, 10, 20) == 10 + 10 + 8
    assert most_apples(60, 10, 0) == 10 and most_apples(60, 22, 1) == 30 and most_apples(1, 22, 20) == 0
    ceiling = lambda **params: known_scores("memory/KeyToDoor", env_params=params)  # noqa: E731
    assert ceiling(apple_reward=2.0).ceiling == 61 and ceiling(distractor_steps=1).ceiling == 5
    assert ceiling(reward_steps=1, apple_reward=0.0).ceiling == 0
    assert (ceiling(apple_reward=0.0).ceiling_of, ceiling().ceiling_of) == ("optimum", "bound")
    assert ceiling(apple_reward=0.0, explore_steps=7).ceiling_of == "bound"


def test_the_key_is_never_farther_than_eight_steps():
    """By way of the middle, from where all its places are in view; its doorways make no detour."""
    room = Game("KeyToDoor").env.rooms[0].tobytes()
    places = [(row, column) for row in (1, 2, 4, 5) for column in range(3, 8)]
    steps = [
        distances(room, (3, 5), ())[start] + distances(room, key, ())[3, 5]
        for key in places[:10]
        for start in places[10:]
    ]
    assert max(steps) == 8 and all(abs(row - 3) <= 2 and abs(column - 5) <= 2 for row, column in places)
    assert distances(Game("KeyToDoor").env.rooms[2].tobytes(), key_to_door.DOOR_AT, ())[3, 5] == 2


@pytest.mark.parametrize(
    "field,value,message",
    [
        ("explore_steps", 0, "need at least 1, got 0"),
        ("distractor_steps", 0, "need at least 1, got 0"),
        ("reward_steps", 0, "need at least 1, got 0"),
        ("num_apples", 23, "need 0 <= num_apples <= 22, got 23"),
        ("respawn_steps", -1, "need at least 0, got -1"),
    ],
)
def test_params(game, field, value, message):
    with pytest.raises(ValueError, match=rf"env_params\.{field}: {message}"):
        replace_params(game.params, **{field: value})
