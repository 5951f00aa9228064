"""Writes `envs/memory/boolean_bayes.json`: how often Bayes' rule labels the t-th example of a Boolean function right.

    python -m tools.boolean_bayes [CLASS ...]

measures some classes again, or all. `rlformers.envs.memory.boolean_optima` reads the file.

It draws functions and inputs. At every t it averages the probability that the posterior gives to
the likelier label, which varies less than whether that label is right.
"""

import itertools
import json
import math
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt32

from rlformers.envs.memory.boolean_optima import EXAMPLES, stored_curves

EPISODES = 400
CLASSES = ("BooleanConjunction", "BooleanDNF", "BooleanSparseParity", "BooleanThreshold")
# Classes of more functions are left out, but for the DNF that is the default, of a million.
MOST_DNF, MOST = 250_000, 60_000
DEFAULT_DNF = (10, 2, 3)


class Functions(NamedTuple):
    """A class of F functions, each of m of K terms."""

    reads: UInt32[np.ndarray, " K"]  # as in `boolean.Function`
    wants: UInt32[np.ndarray, " K"]  # 0 where it is not read
    limit: Int64[np.ndarray, " K"]  # more true literals than these make a term true
    terms: Int64[np.ndarray, "F m"]  # places in the above
    prior: Float64[np.ndarray, " F"]
    negative: Float64[np.ndarray, " F"]  # share of the inputs that no term is true of

    def subset(self, which: Bool[np.ndarray, " F"] | list[int]) -> "Functions":
        """Some of them. Of functions of one term, no other terms are kept."""
        terms, prior, negative = self.terms[which], self.prior[which], self.negative[which]
        if terms.shape[1] > 1:
            return self._replace(terms=terms, prior=prior, negative=negative)
        reads, wants, limit = (part[terms[:, 0]] for part in self[:3])
        return Functions(reads, wants, limit, np.arange(len(terms))[:, None], prior, negative)


def sizes(name: str) -> Iterator[tuple[int, ...]]:
    """The sizes of a class that are stored: `n`, `relevant`, for a DNF also `terms`."""
    for n, relevant in itertools.product((4, 5, 6, 8, 10, 12, 16, 20, 24, 28, 32), (1, 2, 3, 4, 5)):
        if relevant > n:
            continue
        num_terms = math.comb(n, relevant) * (1 if name == "BooleanSparseParity" else 2**relevant)
        if name != "BooleanDNF":
            yield from [(n, relevant)] * (num_terms <= MOST)
            continue
        for terms in (2, 3):
            # Every function leaves a quarter of the inputs negative, or more: see `boolean.CANDIDATES`.
            few = math.comb(num_terms + terms - 1, terms) <= MOST_DNF
            if terms <= 0.75 * 2**relevant and (few or (n, relevant, terms) == DEFAULT_DNF):
                yield n, relevant, terms


def enumerate_functions(name: str, n: int, relevant: int, num_terms: int = 1) -> Functions:
    """All functions of a class."""
    places = np.array(list(itertools.combinations(2 ** np.arange(n, dtype=np.uint32), relevant)))
    signs = np.array(list(itertools.product((0, 1), repeat=relevant)), np.uint32)
    if name == "BooleanSparseParity":
        signs = signs[-1:]
    wants = (places[:, None] * signs).sum(-1, dtype=np.uint32).ravel()
    reads = np.repeat(places.sum(1, dtype=np.uint32), len(signs))
    limits, counts = np.array([relevant - 1]), np.ones(1, int)
    if name == "BooleanThreshold":
        # 2 s - k > θ with s true literals of k. Some of the six θ are the same function.
        limits, counts = np.unique((np.arange(-3, 3) + relevant) // 2, return_counts=True)
    limit, weight = (np.repeat(part, len(reads)) for part in (limits, counts))
    reads, wants = np.tile(reads, len(limits)), np.tile(wants, len(limits))
    terms = np.array(list(itertools.combinations_with_replacement(range(len(reads)), num_terms)))
    # The terms of a DNF are drawn in any order, which draws them the more often the more they differ.
    run, repeats = np.ones(len(terms)), np.ones(len(terms))
    for one, next_one in itertools.pairwise(terms.T):
        run = np.where(one == next_one, run + 1, 1)
        repeats *= run
    prior = weight[terms[:, 0]] / repeats
    return Functions(reads, wants, limit, terms, prior / prior.sum(), 1 - _share_positive(reads[terms], wants[terms]))


def _share_positive(reads: UInt32[np.ndarray, "F m"], wants: UInt32[np.ndarray, "F m"]) -> Float64[np.ndarray, " F"]:
    """Share of the inputs that satisfy all literals of any term, by inclusion and exclusion."""
    share, terms = np.zeros(len(reads)), range(reads.shape[1])
    for chosen in (list(some) for count in terms for some in itertools.combinations(terms, count + 1)):
        clash = np.zeros(len(reads), bool)
        for i, j in itertools.combinations(chosen, 2):
            clash |= (wants[:, i] ^ wants[:, j]) & reads[:, i] & reads[:, j] != 0
        num_read = np.bitwise_count(np.bitwise_or.reduce(reads[:, chosen], axis=1)).astype(float)
        share -= (-1) ** len(chosen) * np.where(clash, 0, 0.5**num_read)
    return share


def joint(name: str, relevant: int, functions: Functions, x: np.uint32) -> Float64[np.ndarray, "2 F"]:
    """p(x, label | function) for the labels -1 and 1, times a constant."""
    if name == "BooleanSparseParity":
        is_true = np.bitwise_count(x & functions.reads) % 2 == 1
    else:
        is_true = np.bitwise_count(~(x ^ functions.wants) & functions.reads) > functions.limit
    num_true = np.zeros(len(functions.terms))
    for places in functions.terms.T:
        num_true += is_true[places]
    if name in ("BooleanSparseParity", "BooleanThreshold"):
        return np.stack([1 - num_true, num_true])
    return np.stack([(num_true == 0) / functions.negative, num_true * 2.0**relevant / functions.terms.shape[1]])


def draw_input(name: str, n: int, relevant: int, hidden: Functions, rng: np.random.Generator) -> np.uint32:
    """An input as the environment draws it for the only one of some functions."""
    x = rng.integers(2**n, dtype=np.uint32)
    if name in ("BooleanSparseParity", "BooleanThreshold"):
        return x
    if rng.random() < 0.5:
        term = rng.choice(hidden.terms[0])
        return (x & ~hidden.reads[term]) | hidden.wants[term]
    while not joint(name, relevant, hidden, x)[0, 0]:
        x = rng.integers(2**n, dtype=np.uint32)
    return x


def bayes_curve(
    name: str, size: tuple[int, ...], num_episodes: int = EPISODES, examples: int = EXAMPLES
) -> Float64[np.ndarray, "N T"]:
    """Probability that Bayes' rule is right, given what it knows, at each step of N episodes."""
    n, relevant = size[:2]
    functions = enumerate_functions(name, *size)
    rng = np.random.default_rng(0)
    right = np.ones((num_episodes, examples))
    for row, place in zip(right, rng.choice(len(functions.prior), num_episodes, p=functions.prior), strict=True):
        hidden, alive = functions.subset([int(place)]), functions
        for t in range(examples):
            x = draw_input(name, n, relevant, hidden, rng)
            both = alive.prior * joint(name, relevant, alive, x)
            row[t] = both.sum(1).max() / both.sum()
            posterior = both[int(joint(name, relevant, hidden, x)[1, 0] > 0)]
            alive = alive._replace(prior=posterior / posterior.sum()).subset(posterior > 0)
            if len(alive.prior) == 1:
                break
    return right


def main(names: list[str]) -> None:
    """Write the file."""
    stored = dict(stored_curves())
    for name in names or CLASSES:
        stored[name] = {}
        for size in sizes(name):
            curves = bayes_curve(name, size)
            row = [round(1e4 * chance) for chance in curves.mean(0)]
            while row and row[-1] == 10_000:
                row.pop()
            stored[name][" ".join(map(str, size))] = row
            forty = curves[:, :40].mean(1)
            print(name, *size, f"{forty.mean():.4f} +- {forty.std() / EPISODES**0.5:.4f} with 40 examples", flush=True)
        _write(stored)


def _write(stored: dict[str, dict[str, list[int]]]) -> None:
    classes = []
    for name in (name for name in CLASSES if name in stored):
        rows = (f'    "{size}": {json.dumps(row, separators=(",", ":"))}' for size, row in stored[name].items())
        classes.append(f'  "{name}": {{\n' + ",\n".join(rows) + "\n  }")
    path = Path(str(files("rlformers.envs.memory"))).joinpath("boolean_bayes.json")
    path.write_text("{\n" + ",\n".join(classes) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
