"""Optimal returns of the Boolean functions in context, which `tools/boolean_bayes.py` computed.

`boolean_bayes.json` holds, for each class and size, how often Bayes' rule over the whole class
labels the example t = 1, 2, ... right, in units of 1e-4. Where a row ends, the function is known.
The mean of the first T numbers is the optimal return with T examples. Imports no jax.
"""

import json
from functools import cache
from importlib.resources import files

EXAMPLES = 160  # the longest row


def optimum(name: str, examples: int, *size: int) -> float | None:
    """Expected return of Bayes' rule, to three decimals; None for what is not stored.

    Args:
        name: Of the class.
        examples: T.
        *size: Number of inputs, of inputs that a term reads, and for a DNF of terms.
    """
    row = stored_curves().get(name, {}).get(" ".join(map(str, size)))
    if row is None or not 1 <= examples <= EXAMPLES:
        return None
    return round((sum(row[:examples]) / 1e4 + max(0, examples - len(row))) / examples, 3)


@cache
def stored_curves() -> dict[str, dict[str, list[int]]]:
    """What the file holds, by class and size."""
    file = files("rlformers.envs.memory").joinpath("boolean_bayes.json")
    return json.loads(file.read_text()) if file.is_file() else {}
