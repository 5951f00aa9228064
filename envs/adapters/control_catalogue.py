"""Continuous control of other packages, and whatever Gymnasium has."""

from rlformers.envs.entry import Entry

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "gymnasium/*",
        "any id of Gymnasium, e.g. gymnasium/CartPole-v1; SLOW: on the host, one copy after the other",
        "rlformers.envs.adapters.gymnasium_host:GymnasiumHost",
        extra="gymnasium",
    ),
)
