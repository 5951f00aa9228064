"""The environments of other packages in JAX: what their extras install, by id.

Ids are those of the packages, under the name of the suite.
"""

from __future__ import annotations

from rlformers.envs.entry import Entry

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


def _steps(grid: str) -> int:
    """The package's limit of steps for an XLand grid such as "R1-9x9"."""
    return 3 * int(grid.rpartition("x")[2]) ** 2


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
)
