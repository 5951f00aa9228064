"""The environments of other packages."""

from rlformers.envs.entry import Entry

ENTRIES: tuple[Entry, ...] = ()
