"""What the command line prints about itself: tables of names, and the keys that a command takes."""

_COLUMNS = """ An operation is a multiply-add or an elementwise one.
state       numbers that each environment carries
step        operations of one token when acting
segment     operations per token when learning from 128; what follows from parameters alone is shared by all tokens
window      how many tokens back an output can depend on; all: to the last start
For other sizes: rlformers list cores width=256 num_layers=2"""


def list_cores(words: list[str]) -> int:
    """What `list cores` prints, for the sizes given as `width=`, `num_layers=`."""
    import json
    from importlib.resources import files

    from rlformers.cores.registry import entries

    sizes = {"width": 64, "num_layers": 1}
    for word in words:
        key, _, value = word.partition("=")
        if key not in sizes:
            raise ValueError(f"list cores: {key!r} is none of {', '.join(sizes)}")
        if not value.isdecimal() or int(value) < 1:
            raise ValueError(f"{key}: need at least 1, got {value!r}")
        sizes[key] = int(value)
    if words:
        from rlformers.cores.cost import measure_all

        costs = measure_all(**sizes)
    else:
        costs = json.loads(files("rlformers.cores").joinpath("costs.json").read_text())

    columns = ("state", "parameters", "step", "segment", "window")
    margin = max(18, *(len(name) + 1 for name in entries()))
    print(f"{'core':{margin}}" + "".join(f"{column:>11}" for column in columns) + "  what, and source")
    for core in entries().values():
        numbers = costs.get(core.name, dict.fromkeys(columns, "-"))
        cells = ("all" if n is None else f"{n:,}" if isinstance(n, int) else n for n in map(numbers.get, columns))
        print(f"{core.name:{margin}}" + "".join(f"{cell:>11}" for cell in cells) + f"  {core.summary} ({core.paper})")
    print(f"\nAt width {sizes['width']}, num_layers {sizes['num_layers']}, default options." + _COLUMNS)
    return 0


def _show_keys(schema: type, prefix: str = "") -> None:
    import dataclasses
    import inspect
    import re

    # What a key means is the comment on its line.
    sources = [inspect.getsource(kind) for kind in reversed(schema.__mro__) if dataclasses.is_dataclass(kind)]
    notes = dict(re.findall(r"^ +(\w+):[^#\n]*# (.*)$", "".join(sources), re.MULTILINE))
    for field in dataclasses.fields(schema):
        factory = field.default_factory
        default = factory() if factory is not dataclasses.MISSING else field.default
        if field.name == "core":
            print(f"  {'core':30} {'NAME':12} gru           {notes['core']}")
        elif dataclasses.is_dataclass(default):
            _show_keys(type(default), f"{prefix}{field.name}.")
        else:
            kind = getattr(field.type, "__name__", str(field.type))
            text = f"  {prefix + field.name:30} {kind:12} {default!s:13} {notes.get(field.name, '')}"
            print(text.rstrip())


def train_help() -> int:
    """What `train --help` prints."""
    from rlformers.config import ExperimentConfig
    from rlformers.cores import registry as cores
    from rlformers.envs.registry import names
    from rlformers.presets import experiments

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
