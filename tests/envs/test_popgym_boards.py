"""How ships, mines and mazes are laid, against the original's algorithms: exact distributions where they are small."""

import itertools
from collections import Counter, defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.envs.popgym import maze
from rlformers.envs.popgym.battleship import Battleship
from rlformers.envs.popgym.labyrinth_escape import LabyrinthEscape
from rlformers.envs.popgym.minesweeper import MineSweeper
from rlformers.envs.registry import make_env


def _sample(lay, num_boards, seed=0):
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(lay))(jax.random.split(jax.random.key(seed), num_boards)))


def _assert_distribution(boards, chances):
    """Chi-square test of boards [S, ...] against {board as bytes: probability}; boards without one must not occur."""
    found = Counter(board.tobytes() for board in boards)
    assert found.keys() <= chances.keys()
    expected = np.array(list(chances.values())) * len(boards)
    deviation = np.array([found[board] for board in chances]) - expected
    freedom = len(chances) - 1
    assert abs(np.sum(deviation**2 / expected) - freedom) < 4 * np.sqrt(2 * freedom)


def _after_placing(board, chance, sizes, chances):
    """All ways in which popgym places ships: draw an end and a direction until the ship fits."""
    if not sizes:
        chances[board.tobytes()] += chance
        return
    ways = []
    for row, column, (down, right) in itertools.product(
        range(len(board)), range(len(board)), ((1, 0), (-1, 0), (0, 1), (0, -1))
    ):
        rows = row + down * np.arange(sizes[0])
        columns = column + right * np.arange(sizes[0])
        inside = (np.minimum(rows, columns) >= 0).all() and (np.maximum(rows, columns) < len(board)).all()
        if inside and not board[rows, columns].any():
            ways.append((rows, columns))
    for tiles in ways:
        placed = board.copy()
        placed[tiles] = True
        _after_placing(placed, chance / len(ways), sizes[1:], chances)


def test_ships_lie_as_popgym_places_them():
    env = Battleship(board_size=3, ship_sizes=(1, 2, 2))
    chances = defaultdict(float)
    _after_placing(np.zeros((3, 3), bool), 1.0, env.ship_sizes, chances)
    _assert_distribution(_sample(lambda key: env.reset_env(key, env.default_params)[1].ships, 20_000), chances)


def _place_by_rejection(rng, boards, size):
    """Add a ship to each of the boards [S, n, n]: draw an end and a direction until the ship fits."""
    n = boards.shape[1]
    waiting = np.arange(len(boards))
    while len(waiting):
        end = rng.integers(n, size=(len(waiting), 2, 1))
        direction = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])[rng.integers(4, size=len(waiting)), :, None]
        rows, columns = np.moveaxis(end + direction * np.arange(size), 1, 0)
        inside = ((np.minimum(rows, columns) >= 0) & (np.maximum(rows, columns) < n)).all(1)
        free = ~boards[waiting[:, None], rows.clip(0, n - 1), columns.clip(0, n - 1)].any(1)
        fits = inside & free
        boards[waiting[fits, None], rows[fits], columns[fits]] = True
        waiting = waiting[~fits]


@pytest.mark.parametrize("level", ["Easy", pytest.param("Hard", marks=pytest.mark.slow)])
def test_tiles_bear_ships_as_often_as_in_popgym(level):
    env, params = make_env(f"popgym/Battleship{level}", raw=True)
    num_boards = 20_000
    ships = _sample(lambda key: env.reset_env(key, params)[1].ships, num_boards)
    assert (ships.sum((1, 2)) == 12).all()
    wanted = np.zeros_like(ships)
    rng = np.random.default_rng(1)
    for size in (2, 3, 3, 4):
        _place_by_rejection(rng, wanted, size)

    def touching(boards):  # pairs of neighbours that both bear ships: how ships lie beside each other
        return (boards[:, 1:] & boards[:, :-1]).sum((1, 2)) + (boards[:, :, 1:] & boards[:, :, :-1]).sum((1, 2))

    for statistic in (lambda boards: boards.reshape(num_boards, -1), lambda boards: touching(boards)[:, None]):
        ours, theirs = statistic(ships), statistic(wanted)
        error = np.sqrt((ours.var(0) + theirs.var(0)) / num_boards)
        assert (np.abs(ours.mean(0) - theirs.mean(0)) < 4.5 * error).all()


def test_every_set_of_mines_is_as_likely():
    env = MineSweeper(board_size=4, num_mines=2)
    chances = {}
    for pair in itertools.combinations(range(16), 2):
        board = np.zeros(16, bool)
        board[list(pair)] = True
        chances[board.tobytes()] = 1 / 120
    _assert_distribution(_sample(lambda key: env.reset_env(key, env.default_params)[1].mines, 20_000), chances)


@pytest.mark.parametrize("level,num_mines", [pytest.param("Medium", 6, marks=pytest.mark.slow), ("Hard", 10)])
def test_boards_have_all_their_mines(level, num_mines):
    env, params = make_env(f"popgym/MineSweeper{level}", raw=True)
    mines = _sample(lambda key: env.reset_env(key, params)[1].mines, 5_000)
    assert (mines.sum((1, 2)) == num_mines).all()
    chance = num_mines / env.board_size**2
    assert (np.abs(mines.mean(0) - chance) < 4.5 * np.sqrt(chance * (1 - chance) / 5_000)).all()


def _neighbours(cell, n):
    row, column = divmod(cell, n)
    steps = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
    return [r * n + c for r, c in steps if 0 <= r < n and 0 <= c < n]


def _mazes_of_hunts_without_end(n):
    """Probabilities of the mazes of n x n cells, walk by walk and hunt by hunt."""
    chances = {}
    for cell in range(n * n):
        chances[cell, frozenset([cell]), frozenset()] = 1 / n**2
    for _ in range(n * n - 1):
        later = defaultdict(float)
        for (walker, carved, passages), chance in chances.items():
            uncarved = {cell: [to for to in _neighbours(cell, n) if to not in carved] for cell in carved}
            starts = [walker] if uncarved[walker] else [cell for cell in carved if uncarved[cell]]
            for cell in starts:
                for to in uncarved[cell]:
                    after = to, carved | {to}, passages | {(cell, to)}
                    later[after] += chance / len(starts) / len(uncarved[cell])
        chances = later
    mazes = defaultdict(float)
    for (_, _, passages), chance in chances.items():
        free = np.zeros((2 * n + 1, 2 * n + 1), bool)
        free[1::2, 1::2] = True
        for cells in passages:
            rows, columns = np.divmod(cells, n)
            free[rows.sum() + 1, columns.sum() + 1] = True
        mazes[free.tobytes()] += chance
    return mazes


def test_mazes_are_those_of_hunt_and_kill():
    mazes = _sample(lambda key: maze.hunt_and_kill(key, 3), 20_000)
    complete = mazes[:, 1::2, 1::2].all((1, 2))
    assert complete.mean() > 0.999
    _assert_distribution(mazes[complete], _mazes_of_hunts_without_end(3))


def test_hunts_last_as_long_as_it_takes_to_draw_a_cell_by_chance():
    chance = 0.2
    trials = _sample(lambda key: maze._geometric(jax.random.bits(key, (), jnp.uint32), jnp.float32(chance)), 20_000)
    _assert_distribution(
        np.minimum(trials, 20),
        {np.int32(n).tobytes(): chance * (1 - chance) ** (n - 1) for n in range(1, 20)}
        | {np.int32(20).tobytes(): (1 - chance) ** 19},
    )


def test_a_hunt_that_lasts_too_long_leaves_the_maze_unfinished_but_connected(monkeypatch):
    monkeypatch.setattr(maze, "_geometric", lambda bits, chance: jnp.int32(60))  # of 11² = 121 draws
    free = _sample(lambda key: maze.hunt_and_kill(key, 5), 200)
    num_cells = free[:, 1::2, 1::2].sum((1, 2))
    assert (num_cells < 25).any()
    assert (free.sum((1, 2)) == 2 * num_cells - 1).all()
    assert not (free[:, 0].any() | free[:, -1].any() | free[:, :, 0].any() | free[:, :, -1].any())


def test_entrance_and_exit_are_in_opposite_walls_each_as_likely():
    env = LabyrinthEscape(maze_size=6)
    grid, start, end = _sample(env.build, 4_000)
    rows = np.arange(len(grid))
    assert (grid[rows, start[:, 0], start[:, 1]] == 2).all() and ((grid == 2).sum((1, 2)) == 1).all()
    chances = {}
    for near, along, along_end, turned in itertools.product((0, 6), (1, 3, 5), (1, 3, 5), (False, True)):
        pair = np.array([[near, along], [6 - near, along_end]], np.int32)
        chances[(pair[:, ::-1] if turned else pair).tobytes()] = 1 / 36
    _assert_distribution(np.stack([start, end], axis=1), chances)


def test_impossible_boards_are_named():
    for env_id, kwargs, message in (
        ("BattleshipEasy", {"board_size": 40}, r"env_kwargs\.board_size: need 2 to 31, got 40"),
        ("BattleshipEasy", {"board_size": 4}, r"env_kwargs\.ship_sizes: need ships .* 4 x 4"),
        ("BattleshipEasy", {"ship_sizes": [0]}, r"env_kwargs\.ship_sizes: need one or more sizes"),
        ("MineSweeperEasy", {"num_mines": 14}, r"env_kwargs\.num_mines: need 1 to 13, got 14"),
        ("LabyrinthEscapeEasy", {"maze_size": 7}, r"env_kwargs\.maze_size: need an even number"),
    ):
        with pytest.raises(ValueError, match=message):
            make_env(f"popgym/{env_id}", **kwargs)
