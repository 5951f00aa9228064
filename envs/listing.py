"""The table of `rlformers list envs`. Imports neither jax nor gymnax."""

import json
from importlib.resources import files

from rlformers.envs.registry import entries
from rlformers.errors import UserError

HEADER = ("env", "observation", "action", "length", "best", "what it asks for")
LEGEND = """\
observation  as the environment shows it; popgym adds the previous action and a start flag, meta what a trial's `inputs`
             name: previous action, previous reward, end of an attempt, start of a trial
length       steps of an episode
best         return of the best policy that does not know what is hidden; "A to B": a policy reaches A, B is a bound;
             "A (... known)": of a policy that is told; "at most": a bound; -: unknown. See docs/envs, docs/meta-rl"""
WIDEST = 40  # characters of a column before it is cut


def stored_spaces() -> dict[str, dict[str, str]]:
    """Observation and action of the built-in environments, as `tools/record_spaces.py` wrote them."""
    file = files("rlformers.envs").joinpath("spaces.json")
    return json.loads(file.read_text()) if file.is_file() else {}


def table(prefix: str = "") -> list[str]:
    """A line for every environment whose id starts with `prefix`, under a header, in aligned columns.

    Raises:
        UserError: There is none.
    """
    stored = stored_spaces()
    rows: list[tuple[str, ...]] = [HEADER]
    for entry in entries().values():
        if entry.name.startswith(prefix):
            space = stored.get(entry.name, {})
            cells = (space.get("observation"), space.get("action"), entry.length, entry.best_in_words, entry.summary)
            rows.append((entry.name, *(cell or "-" for cell in cells)))
    if len(rows) == 1:
        suites = sorted({name.partition("/")[0] for name in entries()})
        raise UserError(f"list envs: no id starts with {prefix!r}; suites are {', '.join(suites)}")
    widths = [min(WIDEST, max(map(len, column))) for column in list(zip(*rows, strict=True))[:-1]]
    return [" ".join([*map(_fit, row, widths), row[-1]]) for row in rows]


def _fit(cell: str, width: int) -> str:
    return f"{cell if len(cell) <= width else cell[: width - 3] + '...':{width}}"
