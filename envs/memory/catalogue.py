"""The memory probes."""

from rlformers.envs.entry import Entry

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "memory/TMaze",
        "recall a cue at the end of a corridor",
        "rlformers.envs.memory.tmaze:TMaze",
        length="11",
        best="1",
    ),
    Entry(
        "memory/ActiveTMaze",
        "the same, with the cue a step in the wrong direction",
        "rlformers.envs.memory.tmaze:TMaze",
        {"active": True},
        length="13",
        best="1",
    ),
)
