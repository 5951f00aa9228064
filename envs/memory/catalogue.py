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
    Entry(
        "memory/MemoryChain",
        "recall a bit of the first observation after memory_length steps",
        "rlformers.envs.memory.memory_chain:MemoryChain",
        length="33",
        best="1",
    ),
    Entry(
        "memory/Copy",
        "repeat a sequence of symbols in its order",
        "rlformers.envs.memory.copying:Copy",
        length="16",
        best="1",
    ),
    Entry(
        "memory/SelectiveCopy",
        "repeat the few symbols that stood among blanks",
        "rlformers.envs.memory.selective_copy:SelectiveCopy",
        length="72",
        best="1",
    ),
    Entry(
        "memory/AssociativeRecall",
        "MQAR: name the values of keys that were shown in pairs",
        "rlformers.envs.memory.associative_recall:AssociativeRecall",
        length="24",
        best="1",
    ),
    Entry(
        "memory/DelayLine",
        "at every step name the symbol of delay steps ago",
        "rlformers.envs.memory.delay_line:DelayLine",
        length="72",
        best="1",
    ),
    Entry(
        "memory/FlipFlop",
        "one bit, written and read at will among distractors",
        "rlformers.envs.memory.flip_flop:FlipFlop",
        length="100",
        best="1",
    ),
    Entry(
        "memory/Parity",
        "at every step name the parity of all bits so far",
        "rlformers.envs.memory.parity:Parity",
        length="32",
        best="1",
    ),
    Entry(
        "memory/Localisation",
        "integrate odometry on the plane: the direction from the start",
        "rlformers.envs.memory.localisation:Localisation",
        length="32",
        best="1",
    ),
)
