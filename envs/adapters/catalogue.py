"""The environments of other packages in JAX: what their extras install, by id.

Ids are those of the packages, under the name of the suite (navix without its prefix). Some are left
out: left_out.py.
"""

from __future__ import annotations

from rlformers.envs.spec import Entry

_ADAPTERS = "rlformers.envs.adapters"

# MiniGrid of xminigrid: what it asks for, most steps of an episode.
MINIGRID = {
    "BlockedUnlockPickUp": ("move a ball away, unlock a door, pick up an object", 576),
    "DoorKey-5x5": ("find a key, unlock a door, reach a goal", 250),
    "DoorKey-6x6": ("the same in 6x6 cells", 360),
    "DoorKey-8x8": ("the same in 8x8 cells", 640),
    "DoorKey-16x16": ("the same in 16x16 cells", 2560),
    "Empty-5x5": ("cross a room", 100),
    "Empty-6x6": ("the same in 6x6 cells", 144),
    "Empty-8x8": ("the same in 8x8 cells", 256),
    "Empty-16x16": ("the same in 16x16 cells", 1024),
    "EmptyRandom-5x5": ("cross a room from a random place", 100),
    "EmptyRandom-6x6": ("the same in 6x6 cells", 144),
    "EmptyRandom-8x8": ("the same in 8x8 cells", 256),
    "EmptyRandom-16x16": ("the same in 16x16 cells", 1024),
    "FourRooms": ("find a goal in four rooms", 100),
    "LockedRoom": ("find a key in one of six rooms, unlock the room with the goal", 190),
    "MemoryS8": ("look at an object, choose the same one at the end of a corridor", 320),
    "MemoryS16": ("the same with a corridor of 10", 1280),
    "MemoryS32": ("the same with a corridor of 26", 5120),
    "MemoryS64": ("the same with a corridor of 58", 20480),
    "MemoryS128": ("the same with a corridor of 122", 81920),
    "Playground": ("nine rooms with objects; nothing pays", 512),
    "Unlock": ("find a key, unlock a door", 288),
    "UnlockPickUp": ("unlock a door, pick up an object", 288),
}

# XLand: rooms and sides of the grid.
XLAND = (
    *(f"R{rooms}-{side}x{side}" for rooms in (1, 2, 4) for side in (9, 11, 13, 15, 17)),
    *(f"R6-{side}x{side}" for side in (13, 17, 19)),
    *(f"R9-{side}x{side}" for side in (16, 19, 25)),
)

# XLand in trials: most rules of a ruleset and number of distractors.
XLAND_META = {"R1-9x9": (1, 2), "R1-13x13": (2, 3), "R4-13x13": (3, 3)}
_ATTEMPTS = 10

# navix: what it asks for. Episodes have at most 100 steps, as `navix.make` has it.
NAVIX = {
    "Empty": ("cross a room", ("5x5", "6x6", "8x8", "16x16")),
    "Empty-Random": ("cross a room from a random place", ("5x5", "6x6", "8x8", "16x16")),
    "DoorKey": ("find a key, unlock a door, reach a goal", ("5x5", "6x6", "8x8", "16x16")),
    "DoorKey-Random": ("the same from a random place", ("5x5", "6x6", "8x8", "16x16")),
    "Dynamic-Obstacles": (
        "reach a goal among moving balls",
        ("5x5", "5x5-Random", "6x6", "6x6-Random", "8x8", "16x16"),
    ),
    "DistShift": ("cross a room past lava", ("1", "2")),
    "FourRooms": ("find a goal in four rooms", ("",)),
    "GoToDoor": ("go to the door of a colour that is not shown", ("5x5", "6x6", "8x8")),
    "LavaGap": ("pass a gap in lava", ("S5", "S6", "S7")),
    "SimpleCrossing": ("find the gaps in walls", ("S9N1", "S9N2", "S9N3", "S11N5")),
}

# jumanji: what it asks for, steps of an episode.
JUMANJI = {
    "BinPack-v2": ("pack boxes into a container", "<=20"),
    "CVRP-v1": ("deliver to cities with a vehicle of limited capacity", "<=40"),
    "Cleaner-v0": ("clean a maze with three agents", "<=100"),
    "FlatPack-v0": ("fill a board with blocks", "<=25"),
    "Game2048-v1": ("merge tiles to 2048 and beyond", ""),
    "GraphColoring-v1": ("colour a graph with few colours", "<=20"),
    "JobShop-v0": ("schedule jobs on machines", ""),
    "Knapsack-v1": ("pack the most valuable items", "<=50"),
    "MMST-v0": ("connect the nodes of three networks", "<=70"),
    "Maze-v0": ("reach a target in a maze that is seen as a whole", "<=100"),
    "Minesweeper-v0": ("open all cells without mines", "<=90"),
    "PacMan-v1": ("eat pellets, avoid ghosts", "<=1000"),
    "RobotWarehouse-v0": ("deliver shelves with four robots", "<=500"),
    "RubiksCube-partly-scrambled-v0": ("solve a cube from seven moves away", "<=20"),
    "RubiksCube-v0": ("solve a cube", "<=200"),
    "SlidingTilePuzzle-v0": ("sort tiles by sliding them", "<=500"),
    "Snake-v1": ("eat fruit without biting oneself; images 12x12", "<=4000"),
    "Sudoku-v0": ("solve a sudoku", ""),
    "Sudoku-very-easy-v0": ("solve a sudoku of 47 clues or more", ""),
    "TSP-v1": ("visit all cities on a short tour", "20"),
    "Tetris-v0": ("clear lines with falling pieces", "<=400"),
}

CRAFTAX = {
    "Symbolic": ("survive, craft, and descend through nine levels", "Craftax-Symbolic", "<=100000"),
    "ClassicSymbolic": ("survive and craft", "Craftax-Classic-Symbolic", "<=10000"),
    "Pixels": ("Craftax as an image", "Craftax-Pixels", "<=100000"),
    "ClassicPixels": ("Craftax-Classic as an image", "Craftax-Classic-Pixels", "<=10000"),
}

# popgym-arcade: what it asks for, steps of an episode of the three levels. AutoEncode, CartPole and MineSweeper look at
# their limits a step late.
ARCADE = {
    "AutoEncode": ("repeat a sequence of cards backwards", ("<=261", "<=521", "<=781")),
    "BattleShip": ("find ships; hits and misses are hidden", ("<=128", "<=200", "<=288")),
    "Breakout": ("break bricks; the ball is hidden at times", ("<=2000", "<=2000", "<=2000")),
    "CartPole": ("balance a pole", ("<=201", "<=401", "<=601")),
    "CountRecall": ("count how often a card was seen", ("<=126", "<=152", "<=178")),
    "MineSweeper": ("open all cells without mines; what was opened is hidden", ("<=33", "<=73", "<=129")),
    "Navigator": ("reach a treasure past mines that were shown once", ("<=64", "<=100", "<=144")),
    "NoisyCartPole": ("balance a pole seen through noise", ("<=201", "<=201", "<=201")),
    "Skittles": ("ski past obstacles", ("<=100", "<=100", "<=100")),
    "Tetris": ("clear lines with falling pieces", ("<=3000", "<=3000", "<=3000")),
}
_LEVELS = ("Easy", "Medium", "Hard")


def _steps(grid: str) -> int:
    """The package's limit of steps for an XLand grid such as "R1-9x9"."""
    return 3 * int(grid.rpartition("x")[2]) ** 2


def _navix_id(family: str, variant: str) -> str:
    """Most variants follow a hyphen, those of four families do not."""
    hyphen = "-" if variant[:1].isdigit() and family != "DistShift" else ""
    return f"{family}{hyphen}{variant}-v0"


ENTRIES: tuple[Entry, ...] = (
    *(
        Entry(
            f"xland/MiniGrid-{name}",
            summary,
            f"{_ADAPTERS}.xland:XMiniGrid",
            {"env_id": f"MiniGrid-{name}"},
            length=f"<={steps}",
            extra="xland",
        )
        for name, (summary, steps) in MINIGRID.items()
    ),
    *(
        Entry(
            f"xland/XLand-MiniGrid-{grid}",
            "reach a hidden goal, another one in every episode, or that of env_kwargs.ruleset",
            f"{_ADAPTERS}.xland:XLand",
            {"env_id": f"XLand-MiniGrid-{grid}"},
            length=f"<={_steps(grid)}",
            extra="xland",
        )
        for grid in XLAND
    ),
    *(
        Entry(
            f"xland/Meta-{grid}",
            f"meta-RL: find out goal and rules (at most {rules}) in {_ATTEMPTS} attempts",
            f"{_ADAPTERS}.xland:make_xland_trials",
            {
                "env_id": f"XLand-MiniGrid-{grid}",
                "max_rules": rules,
                "num_distractors": distractors,
                "episodes": _ATTEMPTS,
            },
            length=f"<={_ATTEMPTS * _steps(grid)}",
            extra="xland",
        )
        for grid, (rules, distractors) in XLAND_META.items()
    ),
    *(
        Entry(
            f"navix/{name}",
            summary,
            f"{_ADAPTERS}.navix:Navix",
            {"env_id": name},
            length="<=100",
            extra="navix",
        )
        for family, (summary, variants) in NAVIX.items()
        for name in (_navix_id(family, variant) for variant in variants)
    ),
    *(
        Entry(
            f"jumanji/{name}",
            summary,
            f"{_ADAPTERS}.jumanji:Jumanji",
            {"env_id": name},
            length=length,
            extra="jumanji",
        )
        for name, (summary, length) in JUMANJI.items()
    ),
    *(
        Entry(
            f"craftax/{name}",
            summary,
            f"{_ADAPTERS}.craftax:Craftax",
            {"env_id": env_id},
            length=length,
            extra="craftax",
        )
        for name, (summary, env_id, length) in CRAFTAX.items()
    ),
    *(
        Entry(
            f"arcade/{game}{level}{twin}",
            summary if partial_obs else f"{game} with nothing hidden",
            f"{_ADAPTERS}.arcade:Arcade",
            {"env_id": f"{game}{level}", "partial_obs": partial_obs},
            length=length,
            extra="arcade",
        )
        for game, (summary, lengths) in ARCADE.items()
        for level, length in zip(_LEVELS, lengths, strict=True)
        for twin, partial_obs in (("", True), ("-MDP", False))
    ),
)
