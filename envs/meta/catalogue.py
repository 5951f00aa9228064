"""The meta-RL environments."""

from rlformers.envs.entry import Entry

ENTRIES: tuple[Entry, ...] = ()
