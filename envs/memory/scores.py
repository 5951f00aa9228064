"""What is known about returns in the memory probes, as functions of what they depend on; see docs/envs/memory.md.

Arguments that a function only names, such as `delay`, may change without changing the returns.
"""

import math

import numpy as np

from rlformers.envs.memory.bayes import optimum
from rlformers.envs.spec import Played, Scores

# In the default games: who walks to the nearest apple, and then to the door or the panel.
_GREEDY = (Played("nearest apple", 27.2, "tests/envs/test_three_phases.py, within 0.05"),)


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
    """Right and wrong earn 1 and -1. After one step the bits are still in view."""
    return Scores(0.0, 1.0 if memory_length == 1 else 0.0, 1.0)


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


def boolean_conjunction(examples: int = 40, n: int = 10, relevant: int = 3) -> Scores:
    """Ceilings: Bayes' rule over all functions of the class, see `bayes`."""
    return Scores(0.5, 0.5, optimum("BooleanConjunction", examples, n, relevant))


def boolean_dnf(examples: int = 40, n: int = 10, relevant: int = 2, terms: int = 3) -> Scores:
    """Functions that are nearly always true have more positive examples than negative ones."""
    balanced = terms <= 0.75 * 2**relevant
    return Scores(0.5, 0.5 if balanced else None, optimum("BooleanDNF", examples, n, relevant, terms))


def boolean_sparse_parity(examples: int = 40, n: int = 10, relevant: int = 2) -> Scores:
    """Without memory there is what the number of ones among the inputs says: how probably it has an odd part."""
    memoryless = 0.0
    for ones in range(n + 1):
        odd = [math.comb(ones, i) * math.comb(n - ones, relevant - i) for i in range(1, relevant + 1, 2)]
        chance = sum(odd) / math.comb(n, relevant)
        memoryless += math.comb(n, ones) / 2**n * max(chance, 1 - chance)
    return Scores(0.5, memoryless, optimum("BooleanSparseParity", examples, n, relevant))


def boolean_threshold(examples: int = 40, n: int = 10, relevant: int = 5) -> Scores:
    """Without memory, after the first step, the last label is right with E[p² + (1 - p)²], p the rate of positives."""
    repeated = 0.0
    for threshold in range(-3, 3):
        literals = range(relevant + 1)
        positive = sum(math.comb(relevant, true) for true in literals if 2 * true - relevant > threshold) / 2**relevant
        repeated += (positive**2 + (1 - positive) ** 2) / 6
    memoryless = (0.5 + (examples - 1) * repeated) / examples
    return Scores(0.5, memoryless, optimum("BooleanThreshold", examples, n, relevant))


def key_to_door(
    explore_steps: int = 15,
    distractor_steps: int = 60,
    reward_steps: int = 10,
    num_apples: int = 10,
    respawn_steps: int = 20,
    apple_reward: float = 1.0,
    final_reward: float = 5.0,
) -> Scores:
    """From the middle of the first room all places of the key are in view: 8 steps lead there and on to any of them."""
    final = max(final_reward, 0.0) if reward_steps >= 2 else 0.0
    apples = max(apple_reward, 0.0) * most_apples(distractor_steps, num_apples, respawn_steps)
    exact = apples == 0 and (final == 0 or explore_steps >= 8)
    defaults = (explore_steps, distractor_steps, reward_steps, num_apples, respawn_steps, apple_reward, final_reward)
    played = _GREEDY if defaults == (15, 60, 10, 10, 20, 1.0, 5.0) else ()
    return Scores(ceiling=final + apples, ceiling_of="optimum" if exact else "bound", played=played)


def visual_match(
    explore_steps: int = 15,
    distractor_steps: int = 60,
    reward_steps: int = 15,
    num_apples: int = 10,
    respawn_steps: int = 20,
    apple_reward: float = 1.0,
    final_reward: float = 5.0,
) -> Scores:
    """The green panel is 4 steps away, the others 7. Without memory one panel is as good as another."""
    final = max(final_reward, 0.0) if reward_steps >= 4 else 0.0
    apples = max(apple_reward, 0.0) * most_apples(distractor_steps, num_apples, respawn_steps)
    exact = apples == 0 and (final == 0 or reward_steps >= 7)
    memoryless = final / 3 if apples == 0 else None
    defaults = (explore_steps, distractor_steps, reward_steps, num_apples, respawn_steps, apple_reward, final_reward)
    played = _GREEDY if defaults == (15, 60, 15, 10, 20, 1.0, 5.0) else ()
    kind = "optimum" if exact else "bound"
    return Scores(memoryless=memoryless, ceiling=final + apples, ceiling_of=kind, played=played)


def most_apples(steps: int, num_apples: int, respawn_steps: int) -> int:
    """A bound on the apples that can be collected in the second phase of `three_phases`.

    Apples lie like the black squares of a chess board, and so does the start: there are two steps from it to an apple,
    at least, and from one apple to the next. One that was collected can be collected again respawn_steps + 2 steps
    later. So an apple that is collected k times is collected first by step steps - (k - 1) (respawn_steps + 2), and
    until then there was time for half as many apples as steps.
    """
    total, left = 0, steps
    while left >= 2:
        total += min(num_apples, left // 2)
        left = left - respawn_steps - 2 if respawn_steps > 0 else 0
    return min(total, steps // 2)


def _guess(choices: int) -> Scores:
    return Scores(1 / choices, 1 / choices, 1.0)


def rock_sample_11() -> Scores:
    """10 for the exit and for every good rock: `rock_sample_references.visit_all`."""
    return Scores(ceiling=65.0)


def rock_sample_15() -> Scores:
    """10 for the exit and for every good rock: `rock_sample_references.visit_all`."""
    return Scores(ceiling=85.0)


def compass_world() -> Scores:
    """`compass_world_references.Walker` arrives in time from everywhere."""
    return Scores(ceiling=1.0)


def mortar_mayhem() -> Scores:
    """`mortar_mayhem_policies.Soldier` carries all commands out."""
    return Scores(ceiling=1.0)


def mystery_path() -> Scores:
    """`mystery_path_policies.Walker` found all of 400 paths in time, after 36 steps on average and 80 at most."""
    return Scores(ceiling=1.0)
