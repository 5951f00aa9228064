"""What the command line prints about itself: tables of names, and the keys that a command takes."""

from collections.abc import Iterable
from typing import Any

from rlformers.errors import UserError

_COLUMNS = """ An operation is a multiply-add or an elementwise one.
state       numbers that each environment carries
step        operations of one token when acting
segment     operations per token when learning from 128; what follows from parameters alone is shared by all tokens
window      how many tokens back an output can depend on; all: to the last start
For other sizes: rlformers list cores width=256 num_layers=2"""


def list_cores(words: list[str]) -> int:
    """What `list cores` prints: for the cores whose names begin with a word, for the sizes `width=`, `num_layers=`."""
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
    print(f"{'core':{margin}}" + "".join(f"{column:>11}" for column in columns) + "  what, and source")
    for core in cores.values():
        numbers = costs.get(core.name, {})
        broken = isinstance(numbers, str)
        what = numbers if broken else f"{core.summary} ({core.paper})"
        cells = ["-" if broken else _cell(numbers.get(column, "-")) for column in columns]
        print(f"{core.name:{margin}}" + "".join(f"{cell:>11}" for cell in cells) + f"  {what}")
    print(f"\nAt width {sizes['width']}, num_layers {sizes['num_layers']}, default options." + _COLUMNS)
    for family in dict.fromkeys(name.split("/")[0] for name in cores if name not in costs):
        print(f"For what the cores {family}/... cost: rlformers list cores {family}")
    return 0


def _prefix_and_sizes(words: list[str]) -> tuple[str, dict[str, int]]:
    prefix, sizes = "", {"width": 64, "num_layers": 1}
    for word in words:
        key, assigned, value = word.partition("=")
        if not assigned and not prefix:
            prefix = word
        elif key not in sizes:
            raise UserError(f"list cores: {key!r} is none of {', '.join(sizes)}")
        elif not value.isdecimal() or int(value) < 1:
            raise UserError(f"{key}: need at least 1, got {value!r}")
        else:
            sizes[key] = int(value)
    return prefix, sizes


def _costs(cores: Iterable[str], sizes: dict[str, int], everything: bool) -> dict[str, Any]:
    """The numbers of each core, or in one line why there are none.

    Those of our own cores at the default sizes are on file. Others are counted, which takes time and jax; families
    (a package of many cores, named family/core) only if everything is wanted.
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


def _notes(schema: type) -> dict[str, str]:
    """What the keys mean: the comment beside each, where there is source code to read."""
    import ast
    import inspect
    import io
    import textwrap
    import tokenize

    try:
        source = textwrap.dedent(inspect.getsource(schema))
    except (OSError, TypeError):
        return {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    notes = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            notes[node.target.id] = " ".join(comments[line] for line in lines if line in comments)
    return notes


def _show_keys(schema: type, prefix: str = "") -> None:
    import dataclasses

    notes: dict[str, str] = {}
    for base in reversed(schema.__mro__):
        notes |= _notes(base) if dataclasses.is_dataclass(base) else {}
    for field in dataclasses.fields(schema):
        factory = field.default_factory
        default = factory() if factory is not dataclasses.MISSING else field.default
        if field.name == "core":
            print(f"  {'core':30} {'NAME':12} gru           {notes['core']}")
        elif dataclasses.is_dataclass(default):
            _show_keys(type(default), f"{prefix}{field.name}.")
        else:
            kind = getattr(field.type, "__name__", str(field.type))
            value = "" if default is dataclasses.MISSING else default
            text = f"  {prefix + field.name:30} {kind:12} {value!s:13} {notes.get(field.name, '')}"
            print(text.rstrip())


def train_help() -> int:
    """What `train --help` prints."""
    from rlformers.config import ExperimentConfig
    from rlformers.config.experiments import experiments
    from rlformers.cores import registry as cores
    from rlformers.envs.registry import names

    print("usage: rlformers train [--multirun [--new] [vmap_over=KEY]] [KEY=VALUE ...]")
    print("       rlformers train resume=RUN_DIR [KEY=VALUE ...]")
    print("\nkeys, with type and default:")
    _show_keys(ExperimentConfig)
    print("\ncores, with their options:")
    for name in cores.entries():
        try:
            options = cores.load(name).Config
        except ValueError as error:  # a broken plug-in
            print(f"  core={name:25} {error}")
            continue
        print(f"  core={name}")
        _show_keys(options, "  core.")
    print("\nexperiments:\n  " + "\n  ".join(f"experiment={name}" for name in experiments()))
    print("\nenvironments:\n  " + "\n  ".join(f"env={name}" for name in names()))
    return 0


_ENVIRONMENT = """
the environment, unless it shall be the one of training:
  env=NAME                       with its own env_kwargs and env_params instead of the run's
  env_kwargs.NAME=VALUE          e.g. env_kwargs.split=heldout
  env_params.NAME=VALUE          e.g. env_params.length=40
  wrap.NAME=VALUE                e.g. wrap.noise=0.1"""


def evaluate_help() -> int:
    """What `evaluate --help` prints."""
    from rlformers.config import EvaluateConfig

    print("usage: rlformers evaluate RUN_DIR [KEY=VALUE ...]\n\nkeys, with type and default:")
    _show_keys(EvaluateConfig)
    print(_ENVIRONMENT)
    return 0


def inside_help(command: str) -> int:
    """What `play --help` and `inspect --help` print."""
    from rlformers.config import InspectConfig, PlayConfig

    option = "[--gif FILE]" if command == "play" else "[--out DIR]"
    print(f"usage: rlformers {command} RUN_DIR {option} [KEY=VALUE ...]\n\nkeys, with type and default:")
    _show_keys(PlayConfig if command == "play" else InspectConfig)
    print(_ENVIRONMENT)
    return 0


def benchmark_help() -> int:
    """What `benchmark --help` prints."""
    print("usage: rlformers benchmark [KEY=V1,V2 ...] [--json FILE]\n")
    print("The keys are those of `rlformers train --help`; several values of a key make several lines.")
    print("steps/s             environment steps of all seeds together; the best of several repetitions")
    print("CPU s/1e6 steps     time of all processor cores, which others on the machine change less")
    print("s/update            of acting and learning; logs, checkpoints and evaluations are left out")
    print("compile s           to build and compile the update, without the cache of earlier runs")
    print("parameters, state   of the agent, and numbers that its memory keeps for each environment")
    return 0
