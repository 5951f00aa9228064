"""What is known about returns in the memory probes, as functions of what they depend on; see docs/envs/memory.md.

Arguments that a function only names, such as `delay`, may change without changing the returns.
"""

import numpy as np

from rlformers.envs.scores import Scores


def tmaze(length: int = 10) -> Scores:
    """The cue is in view at the start."""
    return Scores(random_tmaze(length, detour=0), 0.5, 1.0)


def active_tmaze(length: int = 10) -> Scores:
    """The cue is a step away in the wrong direction."""
    return Scores(random_tmaze(length, detour=1), 0.5, 1.0)


def random_tmaze(length: int, detour: int) -> float:
    """Expected return of uniformly random actions: the distribution over places, step by step.

    Args:
        length: L.
        detour: 1 for the active maze, whose junction is one further and whose episode two steps longer.
    """
    corridor = np.zeros(length + detour + 1)  # chance to be at x = 0 ... junction, y = 0
    corridor[detour] = 1.0
    sides = 0.0  # chance to be in one of the two ends, equal to that of the other
    total = 0.0
    for time in range(1, length + 2 * detour + 1):
        corridor, sides = _wander(corridor, sides)
        behind = corridor[: max(0, time - detour)].sum()
        total -= behind / length
    return float(total + _wander(corridor, sides)[1])


def _wander(corridor: np.ndarray, sides: float) -> tuple[np.ndarray, float]:
    """One random step: right, up, left, down, each with chance 1/4; moves into walls do nothing."""
    new = corridor / 2  # up and down
    new[1:] += corridor[:-1] / 4
    new[:-1] += corridor[1:] / 4
    new[0] += corridor[0] / 4
    new[-1] += corridor[-1] / 4 - corridor[-1] / 2 + 2 * sides / 4
    return new, sides * 3 / 4 + corridor[-1] / 4


def memory_chain(memory_length: int = 32, num_bits: int = 1) -> Scores:
    """Right and wrong earn 1 and -1."""
    return Scores(0.0, 0.0, 1.0)


def copy(items: int = 8, delay: int = 0, num_symbols: int = 8) -> Scores:
    """One of `num_symbols`."""
    return _guess(num_symbols)


def selective_copy(length: int = 64, items: int = 8, num_symbols: int = 8) -> Scores:
    """One of `num_symbols`."""
    return _guess(num_symbols)


def associative_recall(num_pairs: int = 8, num_keys: int = 16, num_values: int = 8) -> Scores:
    """One of `num_values`."""
    return _guess(num_values)


def delay_line(delay: int = 8, answers: int = 64, num_symbols: int = 4) -> Scores:
    """One of `num_symbols`."""
    return _guess(num_symbols)


def flip_flop(length: int = 100, reads: int = 10, write_rate: float = 0.1) -> Scores:
    """One bit."""
    return _guess(2)


def parity(length: int = 32) -> Scores:
    """The first parity is in view."""
    return Scores(0.5, (length + 1) / (2 * length), 1.0)


def localisation(length: int = 32, num_sectors: int = 8) -> Scores:
    """The first sector is in view."""
    return Scores(1 / num_sectors, (1 + (length - 1) / num_sectors) / length, 1.0)


def boolean_conjunction() -> Scores:
    """Ceiling: Bayes' rule over all functions of the class."""
    return Scores(0.5, 0.5, 0.942)


def boolean_dnf() -> Scores:
    """As above."""
    return Scores(0.5, 0.5, 0.841)


def boolean_sparse_parity() -> Scores:
    """As above; the label before tells something."""
    return Scores(0.5, 0.555, 0.940)


def boolean_threshold() -> Scores:
    """As above."""
    return Scores(0.5, 0.627, 0.868)


def _guess(choices: int) -> Scores:
    return Scores(1 / choices, 1 / choices, 1.0)
