"""The grammar of the command line: commands, options, and words KEY=VALUE, which it does not interpret.

Options may stand anywhere among the words. Importing this module imports nothing heavy. Help that
takes time to write is written only when someone asks for it.
"""

import argparse
import difflib
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from rlformers import __version__
from rlformers.command import commands, completers, keys_help, lists
from rlformers.command.words import is_setting
from rlformers.errors import UserError

EXAMPLE = "example: rlformers train env=popgym/RepeatPreviousEasy core=s5 seeds=3 total_steps=1e6"


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help of 100 columns that keeps line breaks."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=26, width=100)


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises its complaints as exceptions.

    Args:
        more: Writes the help below the options.
        keys: Returns the keys that its words may set, for the hint about an unknown option.
    """

    def __init__(
        self,
        *args: Any,
        more: Callable[[], str] = lambda: "",
        keys: Callable[[], Sequence[str]] = lambda: (),
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs | {"allow_abbrev": False, "formatter_class": _Help})
        self._more, self._keys = more, keys

    @property
    def name(self) -> str:
        """The name of the command."""
        return self.prog.removeprefix("rlformers").strip()

    def format_help(self) -> str:
        """The options, and the help below them."""
        return super().format_help() + self._more()

    def error(self, message: str) -> NoReturn:
        """Complain in one line.

        Raises:
            UserError: Always.
        """
        if missing := re.match(r"argument (?:\S+/)?(-\S+): expected one argument", message):
            raise self.missing(missing[1])
        raise UserError(f"{self.name}: {message}; see rlformers {self.name} --help")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help. The method of argparse hides the error when the reader of a pipe has gone."""
        print(message, end="", file=file)

    def missing(self, flag: str) -> UserError:
        """The complaint about an option without its value."""
        metavar = next(action.metavar for action in self._actions if flag in action.option_strings)
        return UserError(f"{self.name}: {flag} needs a {metavar}; usage: {self.first_usage}")

    @property
    def first_usage(self) -> str:
        """The first line of the usage."""
        return (self.usage or "").splitlines()[0]

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The options, and all other words as `words`.

        Raises:
            UserError: An option is unknown (the line suggests what may have been meant) or lacks
                its value.
        """
        found, unknown = self.parse_known_intermixed_args(arguments)
        for word in unknown:
            raise UserError(self._unknown(word, arguments))
        for action in self._actions:
            value = getattr(found, action.dest, None)
            if action.metavar in ("FILE", "DIR") and isinstance(value, str) and is_setting(value):
                raise self.missing(action.option_strings[0])
        return found

    def _unknown(self, word: str, arguments: Sequence[str]) -> str:
        """The complaint about an unknown option."""
        flag, assigned, value = word.partition("=")
        options = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        complaint = f"{self.name}: there is no option {flag}"
        if near := difflib.get_close_matches(flag, options, n=1, cutoff=0.7):
            return f"{complaint}; did you mean {near[0]}?"
        if not assigned and flag in arguments:
            following = list(arguments)[list(arguments).index(flag) + 1 :][:1]
            value = following[0] if following and not following[0].startswith("-") and "=" not in following[0] else ""
        if keys := meant(flag.lstrip("-").replace("-", "_"), self._keys()):
            settings = " or ".join(f"{key}={shlex.quote(value) if value else 'VALUE'}" for key in keys)
            return f"{complaint}; write {settings}"
        takes = "; settings are written KEY=VALUE" if self._keys() else ""
        return f"{complaint}; options are {', '.join(options)}{takes}"


def meant(name: str, keys: Sequence[str]) -> list[str]:
    """The keys that a name may mean: the key itself, the keys that end in it, or the most similar one."""
    if name in keys:
        return [name]
    ends = [key for key in keys if key.rpartition(".")[2] == name]
    return ends or difflib.get_close_matches(name, keys, n=1, cutoff=0.75)


def make_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser of the first word, and the parsers of the commands by name."""
    parser = Parser(
        prog="rlformers",
        usage="rlformers COMMAND ...",
        description="Train and compare agents with memories; `rlformers COMMAND --help` describes one command.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--version", action="version", version=__version__)
    group = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    found: dict[str, Parser] = {}

    def add(name: str, run: Callable, usage: str, help: str, **options: Any) -> Parser:
        lines = [f"rlformers {name} {line}" for line in usage.splitlines()]
        usage = "\n       ".join(lines)
        text = f"{help[0].upper()}{help[1:]}."
        command = group.add_parser(name, prog=f"rlformers {name}", usage=usage, help=help, description=text, **options)
        command.set_defaults(run=run)
        found[name] = command
        return command

    def words(command: Parser, metavar: str, help: str, completer: Callable) -> None:
        action: Any = command.add_argument("words", nargs="*", metavar=metavar, help=help)
        action.completer = completer

    train = add(
        "train",
        commands.train,
        "[KEY=VALUE ...]\n--multirun [--new] [vmap_over=KEY] KEY=V1,V2 ...\nresume=RUN_DIR [KEY=VALUE ...]",
        "train an agent, train every combination of some values, or continue a run",
        more=keys_help.train_help,
        keys=keys_help.train_keys,
    )
    train.add_argument(
        "-m",
        "--multirun",
        action="store_true",
        help="train every combination of the values KEY=V1,V2, in one W&B group",
    )
    train.add_argument("--new", action="store_true", help="with --multirun: start a new sweep, never continue one")
    train.add_argument("--dry-run", action="store_true", help="check and print the configuration; train nothing")
    words(train, "KEY=VALUE", "settings, see below", completers.train)

    run_keys = {"evaluate": "EvaluateConfig", "play": "PlayConfig", "inspect": "InspectConfig"}

    def with_keys(name: str) -> dict[str, Any]:
        schema = run_keys[name]
        return {"more": lambda: keys_help.run_help(schema), "keys": lambda: keys_help.run_keys(schema)}

    evaluate = add(
        "evaluate",
        commands.evaluate,
        "RUN_DIR... [KEY=VALUE ...]",
        "play whole episodes with the agents of runs, in their environment or another that fits",
        **with_keys("evaluate"),
    )
    words(evaluate, "WORD", "run directories and settings", completers.run("EvaluateConfig"))
    track = add(
        "track", commands.track, "RUN_DIR... [wandb.KEY=VALUE ...]", "upload the rows that W&B does not have yet"
    )
    words(track, "WORD", "run directories and settings", completers.run_dirs)
    play = add(
        "play",
        commands.play,
        "RUN_DIR [--gif FILE] [KEY=VALUE ...]",
        "show episodes of one agent step by step, as text or as an animated picture",
        **with_keys("play"),
    )
    play.add_argument(
        "--gif", metavar="FILE", help="write an animated picture, and its numbers in a .json file beside it"
    )
    words(play, "WORD", "a run directory and settings", completers.run("PlayConfig"))
    inspect = add(
        "inspect",
        commands.inspect,
        "RUN_DIR [--out DIR] [KEY=VALUE ...]",
        "draw the memory of one agent: influence of the past, attention, time scales",
        **with_keys("inspect"),
    )
    inspect.add_argument("--out", metavar="DIR", help="directory to write to; default: RUN_DIR/inspection")
    words(inspect, "WORD", "a run directory and settings", completers.run("InspectConfig"))
    report = add(
        "report",
        commands.report,
        "RUN_DIR... --out DIR",
        "compare runs in a page, tables and figures, with intervals",
    )
    report.add_argument("--out", metavar="DIR", help="directory to write to")
    words(report, "RUN_DIR", "runs, sweeps, or directories that contain them", completers.run_dirs)
    listing = add(
        "list",
        lists.show,
        "cores [PREFIX] [width=N] [num_layers=N]\nenvs [PREFIX]\nexperiments\nkeys [PREFIX | core=NAME]\nruns [DIR]",
        "list cores with their costs, environments, experiments, keys or runs",
        more=lambda: lists.HELP,
    )
    words(listing, "WORD", "what to list", completers.listing)
    bench = add(
        "benchmark",
        commands.benchmark,
        "[KEY=V1,V2 ...] [--json FILE]",
        "measure how fast training is on this machine",
        more=lambda: keys_help.BENCHMARK_HELP,
        keys=keys_help.train_keys,
    )
    bench.add_argument("--json", metavar="FILE", help="also write the numbers, with all digits, as JSON")
    words(bench, "KEY=VALUE", "the keys of train; several values make several lines", completers.train)
    check = add(
        "check",
        lists.check,
        "ENV [KEY=VALUE ...]",
        "check point by point whether an environment follows the protocol",
    )
    words(
        check,
        "WORD",
        "the id of an environment; ignore=[mission] leaves out parts of its observations, and env_kwargs.* are "
        "arguments of its constructor",
        completers.envs,
    )
    return parser, found


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The function to `run`, with its options and words.

    Raises:
        UserError: A command or option is unknown, or an option lacks its value; one line.
        SystemExit: Help or the version was asked for and has been printed.
    """
    parser, found = make_parser()
    if not arguments:
        parser.print_help()
        raise SystemExit(0)
    first, *rest = arguments
    if first in found:
        return found[first].read(rest)
    if first in ("-h", "--help", "--version"):
        parser.parse_args([first])
    near = difflib.get_close_matches(first, found, n=1)
    hint = f"did you mean {near[0]!r}? See" if near else "see"
    raise UserError(f"{' '.join(arguments)!r}: unknown command; {hint} rlformers --help")
