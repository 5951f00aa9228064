"""`rlformers list` and `rlformers check`: the names that exist, and whether an environment follows the protocol."""

import sys
from argparse import Namespace

from rlformers.errors import UserError

HELP = """
cores        names and costs; the full name of a core also shows its options: rlformers list cores s5
envs         ids, spaces, lengths and best returns; of one suite: rlformers list envs popgym
experiments  settings for experiment=NAME: those of the library, of your folders and of plug-ins
keys         every key of `rlformers train`, with type, default and meaning; `keys ppo` shows the keys that begin
             with ppo, `keys core=s5` the options of a core
runs         the runs in a directory (default: runs) in order of time, with their progress and returns
"""
KINDS = ("cores", "envs", "experiments", "keys", "runs")


def show(options: Namespace) -> int:
    """`rlformers list`."""
    match options.words:
        case ["cores", *words]:
            from rlformers.command.core_table import list_cores

            return list_cores(words)
        case ["envs", *prefix] if len(prefix) < 2:
            from rlformers.envs.listing import LEGEND, table
            from rlformers.envs.registry import ignored_plugins

            print(*table(*prefix), "", LEGEND, sep="\n")
            for line in ignored_plugins():
                print(line, file=sys.stderr)
        case ["experiments"]:
            from rlformers.config.experiments import table as experiment_table

            print(*experiment_table(), sep="\n")
        case ["keys", *prefix] if len(prefix) < 2:
            from rlformers.command.keys_help import list_keys

            print(*list_keys(*prefix), sep="\n")
        case ["runs", *directory] if len(directory) < 2:
            from rlformers.command.run_table import run_table

            print(*run_table(*directory), sep="\n")
        case what:
            raise UserError(f"list: need one of {', '.join(KINDS)}, got {' '.join(what)!r}")
    return 0


def check(options: Namespace) -> int:
    """`rlformers check`."""
    ids = [word for word in options.words if "=" not in word]
    if len(ids) != 1:
        got = " ".join(options.words)
        raise UserError(f"check: need one environment, got {got!r}; usage: rlformers check ENV [KEY=VALUE ...]")

    from rlformers.config import CheckConfig
    from rlformers.config.compose import from_words
    from rlformers.envs import check

    given = from_words(CheckConfig, [word for word in options.words if "=" in word])
    report = check(ids[0], ignore=given.ignore, **given.env_kwargs)
    for traceback in report.tracebacks:
        print(traceback, file=sys.stderr)
    print(report)
    return 0 if report.ok else 1
