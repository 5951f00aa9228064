"""The environments of POPGym, each in three difficulties. Lengths and ceilings: measured in popgym 1.0.7."""

import re
from functools import partial
from typing import Any

from rlformers.envs.popgym.scores import popgym_scores
from rlformers.envs.spec import Entry


def _levels(
    family: str,
    module: str,
    summary: str,
    arguments: str,
    values: tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]],
    lengths: tuple[str, str, str],
    best: tuple[str, str, str] = ("1", "1", "1"),
    shown: tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]] | None = None,
    truncation: str = "bootstraps",
) -> list[Entry]:
    """Easy, Medium and Hard of one family.

    `arguments` of its constructor take `values`; `summary` has fields for what is `shown`, by default the same.
    """
    target = f"rlformers.envs.popgym.{module}:{family}"
    levels = zip(("Easy", "Medium", "Hard"), values, lengths, best, shown or values, strict=True)
    return [
        Entry(
            f"popgym/{family}{level}",
            summary.format(*words),
            target,
            dict(zip(arguments.split(), value, strict=True)),
            previous_action=True,
            length=length,
            best=ceiling,
            scores=partial(popgym_scores, f"{family}{level}"),
            truncation=truncation,
        )
        for level, value, length, ceiling, words in levels
    ]


def present_name(env_id: str) -> str:
    """An id with the names of the paper, StatelessCartPole and StatelessPendulum, replaced by those of popgym 1.0."""
    return re.sub("stateless(?=cartpole|pendulum)", "PositionOnly", env_id, flags=re.IGNORECASE)


ENTRIES: tuple[Entry, ...] = (
    *_levels(
        "RepeatFirst",
        "repeat_first",
        "name the suit of the first card, {} deck(s) long",
        "num_decks",
        ((1,), (8,), (16,)),
        ("51", "415", "831"),
    ),
    *_levels(
        "RepeatPrevious",
        "repeat_previous",
        "name the suit of the first of the last {1} cards, {0} deck(s) long",
        "num_decks k",
        ((1, 4), (2, 32), (3, 64)),
        ("51", "103", "155"),
    ),
    *_levels(
        "Autoencode",
        "autoencode",
        "watch {} deck(s), then name the suits backwards",
        "num_decks",
        ((1,), (2,), (3,)),
        ("103", "207", "311"),
    ),
    *_levels(
        "CountRecall",
        "count_recall",
        "say how often a card was shown, {} deck(s), {}",
        "num_decks deck_type",
        ((1, "colors"), (2, "suits"), (4, "ranks")),
        ("51", "103", "207"),
    ),
    *_levels(
        "HigherLower",
        "higher_lower",
        "bet whether the next card is higher or lower, {} deck(s)",
        "num_decks",
        ((1,), (2,), (3,)),
        ("51", "103", "155"),
        ("0.527", "0.519", "0.509"),
    ),
    *_levels(
        "PositionOnlyCartPole",
        "position_only_cartpole",
        "balance a pole without seeing velocities, {} steps",
        "max_steps_in_episode",
        ((200,), (400,), (600,)),
        ("8-200", "8-400", "8-600"),
    ),
    *_levels(
        "PositionOnlyPendulum",
        "position_only_pendulum",
        "swing up a pendulum without seeing the velocity, {} steps",
        "max_steps_in_episode",
        ((200,), (150,), (100,)),
        ("200", "150", "100"),
        ("0.911", "0.882", "0.823"),
    ),
    *_levels(
        "VelocityOnlyCartPole",
        "velocity_only_cartpole",
        "balance a pole seeing only velocities, {} steps",
        "max_steps_in_episode",
        ((200,), (400,), (600,)),
        ("8-200", "8-400", "8-600"),
    ),
    *_levels(
        "NoisyPositionOnlyCartPole",
        "noisy",
        "balance a pole seeing noisy positions, sigma {}",
        "noise_sigma",
        ((0.1,), (0.2,), (0.3,)),
        ("8-200", "8-200", "8-200"),
        ("0.993 to 1", "0.661 to 1", "0.405 to 1"),
    ),
    *_levels(
        "NoisyPositionOnlyPendulum",
        "noisy",
        "swing up a pendulum seeing noisy positions, sigma {}",
        "noise_sigma",
        ((0.1,), (0.2,), (0.3,)),
        ("200", "200", "200"),
        ("0.904 to 0.911", "0.908 to 0.911", "0.902 to 0.911"),
    ),
    *_levels(
        "MultiarmedBandit",
        "multiarmed_bandit",
        "find the best of {} arms in {} pulls",
        "num_bandits max_steps_in_episode",
        ((10, 200), (20, 400), (30, 600)),
        ("200", "400", "600"),
        ("0.723 to 0.831", "0.822 to 0.914", "0.860 to 0.940"),
        truncation="terminates",
    ),
    *_levels(
        "Concentration",
        "concentration",
        "turn pairs of equal cards face up, {} deck(s), {}",
        "num_decks deck_type",
        ((1, "colors"), (2, "colors"), (1, "ranks")),
        ("52-104", "104-208", "52-104"),
        ("0.816 to 1", "0.815 to 1", "0.698 to 1"),
        truncation="terminates",
    ),
    *_levels(
        "Battleship",
        "battleship",
        "sink 4 unseen ships on {0} x {0} tiles",
        "board_size",
        ((8,), (10,), (12,)),
        ("12-64", "12-100", "12-144"),
        ("0.509 to 1", "0.581 to 1", "0.589 to 1"),
        truncation="terminates",
    ),
    *_levels(
        "MineSweeper",
        "minesweeper",
        "clear unseen {0} x {0} tiles of {1} mines",
        "board_size num_mines",
        ((4, 2), (6, 6), (8, 10)),
        ("1-14", "1-30", "1-54"),
        ("0.766", "0.633 to 0.661", "at most 0.686"),
        truncation="terminates",
    ),
    *_levels(
        "LabyrinthExplore",
        "labyrinth_explore",
        "visit all of a maze of {0} x {0} squares",
        "maze_size",
        ((10,), (14,), (18,)),
        ("49-1023", "97-1023", "161-1023"),
        ("0.982 with known mazes", "0.957 with known mazes", "0.919 with known mazes"),
        ((11,), (15,), (19,)),
    ),
    *_levels(
        "LabyrinthEscape",
        "labyrinth_escape",
        "find the exit of a maze of {0} x {0} squares",
        "maze_size",
        ((10,), (14,), (18,)),
        ("10-1023", "14-1023", "18-1023"),
        ("0.979 with known mazes", "0.965 with known mazes", "0.949 with known mazes"),
        ((11,), (15,), (19,)),
    ),
)
