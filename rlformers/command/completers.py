"""Completions of a word for the shell (argcomplete). Nothing here imports jax or Hydra."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from glob import glob
from pathlib import Path
from typing import Any

from rlformers.command import keys_help
from rlformers.command.lists import KINDS

Completer = Callable[..., list[str]]
WITH_VALUE = ("--gif", "--out", "--json")


def answer_shell(parser: ArgumentParser) -> None:
    """If a shell asks, print the completions of the word under the cursor and exit; see README."""
    import argcomplete

    class Finder(argcomplete.CompletionFinder):
        """Puts options first: argparse does not complete the words of a command after an option."""

        def _get_completions(self, comp_words: list[str], *arguments: Any) -> list[str]:
            return super()._get_completions(comp_words[:2] + options_first(comp_words[2:]), *arguments)

    Finder()(parser)


def options_first(words: list[str]) -> list[str]:
    """The words with options and their values in front; unchanged if the last word is an option without its value."""
    if words and words[-1] in WITH_VALUE:
        return words
    behind = [i > 0 and words[i - 1] in WITH_VALUE for i in range(len(words))]
    first = [word.startswith("-") or value for word, value in zip(words, behind, strict=True)]
    return [w for w, f in zip(words, first, strict=True) if f] + [w for w, f in zip(words, first, strict=True) if not f]


def train(prefix: str, **_: Any) -> list[str]:
    """Keys of `train`, and values where they have names: cores, environments, experiments, true and false."""
    key, assigned, value = prefix.partition("=")
    if not assigned:
        return beginning(prefix, [f"{key}=" for key in keys_help.train_keys()])
    before, comma, last = value.rpartition(",")
    if key in ("resume", "init_from"):
        return [f"{key}={path}" for path in _directories(value)]
    return [f"{key}={before}{comma}{name}" for name in beginning(last, _values(key))]


def _values(key: str) -> Iterable[str]:
    if key == "core":
        from rlformers.cores.registry import entries

        return entries()
    if key == "env":
        from rlformers.envs.registry import names

        return names()
    if key == "experiment":
        from rlformers.config.experiments import experiments

        return experiments()
    kinds = {key.name: key.kind for key in keys_help.train_table()}
    return ("true", "false") if kinds.get(key) == "bool" else ()


def run(schema: str) -> Completer:
    """Run directories, and the keys of a command about runs."""

    def complete(prefix: str, **_: Any) -> list[str]:
        if prefix.startswith("env="):
            return train(prefix)
        return _directories(prefix) + beginning(prefix, [f"{key}=" for key in keys_help.run_keys(schema)])

    return complete


def run_dirs(prefix: str, **_: Any) -> list[str]:
    """Directories."""
    return _directories(prefix)


def envs(prefix: str, **_: Any) -> list[str]:
    """Ids of environments."""
    return beginning(prefix, _values("env"))


def listing(prefix: str, parsed_args: Any = None, **_: Any) -> list[str]:
    """The kinds that `list` lists, and the names of one kind."""
    words = list(getattr(parsed_args, "words", None) or [])
    if not words:
        return beginning(prefix, KINDS)
    if words[0] == "runs":
        return _directories(prefix)
    if words[0] == "keys":
        return beginning(prefix, keys_help.train_keys())
    return beginning(prefix, _values(words[0].removesuffix("s")))


def beginning(prefix: str, names: Iterable[str]) -> list[str]:
    """The names that begin with a prefix."""
    return [name for name in names if name.startswith(prefix)]


def _directories(prefix: str) -> list[str]:
    return [f"{path}/" for path in sorted(glob(f"{prefix}*")) if Path(path).is_dir()]
