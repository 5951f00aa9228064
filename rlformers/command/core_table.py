"""`rlformers list cores`: the cost of each core, and its options."""

from collections.abc import Iterable
from typing import Any

from rlformers.errors import UserError

_COLUMNS = """ An operation is a multiply-add or an elementwise one.
state       numbers carried for each environment
step        operations for one token when acting
segment     operations per token when learning from 128; all tokens share what depends on parameters alone
window      how many tokens back an output can depend on; all: back to the last start
For other sizes: rlformers list cores width=256 num_layers=2"""


def list_cores(words: list[str]) -> int:
    """Print the cores whose names begin with a word, with their costs for the sizes `width=` and `num_layers=`."""
    import sys

    from rlformers.cores.registry import entries, ignored_plugins

    prefix, sizes = _prefix_and_sizes(words)
    cores = {name: entry for name, entry in entries().items() if name.startswith(prefix)}
    if not cores:
        raise UserError(f"list cores: no name begins with {prefix!r}; cores are {', '.join(entries())}")
    costs = _costs(cores, sizes, everything=bool(words))
    for line in ignored_plugins():
        print(line, file=sys.stderr)

    columns = ("state", "parameters", "step", "segment", "window")
    margin = max(18, *(len(name) + 1 for name in cores))
    print(f"{'core':{margin}}" + "".join(f"{column:>11}" for column in columns) + "  description and source")
    for core in cores.values():
        numbers = costs.get(core.name, {})
        broken = isinstance(numbers, str)
        what = numbers if broken else f"{core.summary} ({core.paper})"
        cells = ["-" if broken else _cell(numbers.get(column, "-")) for column in columns]
        print(f"{core.name:{margin}}" + "".join(f"{cell:>11}" for cell in cells) + f"  {what}")
    print(f"\nAt width {sizes['width']}, num_layers {sizes['num_layers']}, default options." + _COLUMNS)
    for family in dict.fromkeys(name.split("/")[0] for name in cores if name not in costs):
        print(f"Costs of the cores {family}/...: rlformers list cores {family}")
    if prefix in cores and not isinstance(costs.get(prefix), str):  # a core that cannot be loaded has no known options
        from rlformers.command.keys_help import core_keys

        print("", *core_keys(prefix), sep="\n")
    else:
        print("The options of a core: rlformers list cores NAME")
    return 0


def _prefix_and_sizes(words: list[str]) -> tuple[str, dict[str, int]]:
    prefix, sizes = "", {"width": 64, "num_layers": 1}
    for word in words:
        key, assigned, value = word.partition("=")
        if not assigned and not prefix:
            prefix = word
        elif key not in sizes:
            raise UserError(f"list cores: {key!r} is not one of {', '.join(sizes)}")
        elif not value.isdecimal() or int(value) < 1:
            raise UserError(f"{key}: need at least 1, got {value!r}")
        else:
            sizes[key] = int(value)
    return prefix, sizes


def _costs(cores: Iterable[str], sizes: dict[str, int], everything: bool) -> dict[str, Any]:
    """The numbers of each core, or one line that says why there are none.

    A file holds the numbers of our own cores at the default sizes. Others are counted, which takes
    time and needs jax. Cores of a family (a package of many cores, named family/core) are counted
    only if everything is wanted.
    """
    import json
    from importlib.resources import files

    known = {}
    if sizes == _prefix_and_sizes([])[1]:
        stored = json.loads(files("rlformers.cores").joinpath("costs.json").read_text())
        known = {name: stored[name] for name in cores if name in stored}
    others = [name for name in cores if name not in known and (everything or "/" not in name)]
    if not others:
        return known

    from rlformers.cores.cost import measure_all

    return known | measure_all(others, **sizes)


def _cell(number: Any) -> str:
    return "all" if number is None else f"{number:,}" if isinstance(number, int) else number
