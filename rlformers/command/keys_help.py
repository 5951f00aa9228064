"""What the keys of the commands mean: types, defaults and notes, read from the dataclasses of the configuration."""

import ast
import dataclasses
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from rlformers.errors import UserError

WIDTH = 100  # columns of `train --help`

# The keys that most experiments set, in groups, with what they mean in one line.
MOST_USED = {
    "the task": {
        "env": "an environment: rlformers list envs [PREFIX]",
        "env_params.NAME": "its parameters, e.g. env_params.length=20",
        "env_kwargs.NAME": "arguments of its constructor, e.g. env_kwargs.split=train",
        "wrap.mask": "hide entries of observations; other wrappers: list keys wrap",
        "total_steps": "decisions per seed; K steps each with wrap.action_repeat=K",
        "seed": "the first seed",
        "seeds": "number of agents: seed, seed + 1, ... in one program",
    },
    "the agent": {
        "core": "the memory: rlformers list cores; mlp has none",
        "core.OPTION": "options of the core: rlformers list cores NAME",
        "model.width": "units of encoder, core, actor and critic",
        "model.num_layers": "layers of the core",
        "model.compute_dtype": "type of matrix products: float32, tfloat32 or bfloat16",
    },
    "learning": {
        "ppo.lr": "learning rate of Adam",
        "ppo.anneal_lr": "lower it linearly to 0 over total_steps",
        "ppo.num_envs": "copies of the environment",
        "ppo.num_steps": "steps of each copy between two updates",
        "ppo.num_minibatches": "minibatches per pass over a rollout",
        "ppo.update_epochs": "passes over a rollout",
        "ppo.gamma": "discount per step",
        "ppo.gae_lambda": "trades bias against variance in advantages",
        "ppo.clip_eps": "how far a probability ratio may move from 1",
        "ppo.ent_coef": "weight of the entropy bonus",
        "ppo.max_grad_norm": "gradients longer than this are shortened",
        "ppo.bptt_length": "steps that gradients flow back through; 0: all num_steps",
    },
    "evaluation, files, logs": {
        "eval.every": "steps between evaluations during training; 0: none",
        "eval.episodes": "episodes per evaluation and seed",
        "run_dir": "default: runs/<env>/<core>/<time>; an existing run continues",
        "checkpoint.every": "seconds between checkpoints",
        "log_every": "updates per line of metrics.jsonl; 0: about 1000 lines",
        "wandb.mode": "auto, online, offline or disabled",
        "wandb.project": "Weights & Biases project",
        "tensorboard": "write event files too",
        "debug": "check every operation, slowly; names the line of a NaN",
    },
}
POINTERS = """
every key                rlformers list keys [PREFIX]        e.g. rlformers list keys ppo
cores, their options     rlformers list cores [NAME]         core=NAME core.OPTION=VALUE
environments             rlformers list envs [PREFIX]        env=NAME
experiments              rlformers list experiments          experiment=NAME
continue or extend       rlformers train resume=RUN_DIR [total_steps=2e6]
a sweep                  rlformers train --multirun core=gru,s5 ppo.lr=1e-3,3e-4
                         hydra/launcher=joblib or submitit_slurm runs it in parallel;
                         vmap_over=ppo.lr trains all values in one program;
                         the same command again continues the sweep
"""
ENVIRONMENT = """
the environment (default: the one of training):
  env=NAME                       another one; drops the env_kwargs and env_params of the run
  env_kwargs.NAME=VALUE          e.g. env_kwargs.split=heldout
  env_params.NAME=VALUE          e.g. env_params.length=40
  wrap.NAME=VALUE                e.g. wrap.noise=0.1
  trial.NAME=VALUE               e.g. trial.episodes=10
"""
BENCHMARK_HELP = """
The keys are those of `rlformers train --help`. Several values of a key make several lines. Without core=..., it
measures three cores.

steps/s             environment steps per second, all seeds together; the best of several repetitions
CPU s/1e6 steps     time of all processor cores; other programs on the machine change it less
s/update            seconds of acting and learning; logs, checkpoints and evaluations are left out
compile s           seconds to build and compile the update, without the cache of earlier runs
parameters, state   parameters of the agent; numbers that its memory keeps for each environment
"""


class Key(NamedTuple):
    """A key of a configuration."""

    name: str
    kind: str
    default: str
    note: str

    def __str__(self) -> str:
        return f"  {self.name:30} {self.kind:12} {self.default:13} {self.note}".rstrip()


def train_help() -> str:
    """The text of `train --help` below the options: the keys used most, and where to find the others."""
    known = {key.name: key for key in train_table()}
    known["core"] = known["core"]._replace(name="core")
    lines = []
    for title, keys in MOST_USED.items():
        lines += ["", f"{title}:"]
        for name, note in keys.items():
            key = known.get(name)
            kind, default = (key.kind, key.default) if key else ("", "")
            lines.append(f"  {name:19} {kind.removesuffix(' | None'):6} {default:10} {note}")
    return "\n".join([*lines, POINTERS])


def train_table() -> list[Key]:
    """The keys of `train`, without the options of cores."""
    from rlformers.config import ExperimentConfig

    return list(keys_of(ExperimentConfig))


@cache
def train_keys() -> tuple[str, ...]:
    """The names of the keys of `train`, with those that are not part of a configuration."""
    return (*(key.name for key in train_table()), "experiment", "resume", "vmap_over")


def run_table(schema: str) -> list[Key]:
    """The keys of a dataclass of `rlformers.config`."""
    from rlformers import config

    return list(keys_of(getattr(config, schema)))


def run_keys(schema: str) -> tuple[str, ...]:
    """The names of these keys, and the one that says where to play."""
    return (*(key.name for key in run_table(schema)), "env")


def run_help(schema: str) -> str:
    """The help of a command about a run, below its options."""
    return "\n".join(["", "keys, with type and default:", *map(str, run_table(schema)), ENVIRONMENT])


def list_keys(prefix: str = "") -> list[str]:
    """The lines of `rlformers list keys`.

    Raises:
        UserError: No key begins with the prefix, or there is no such core.
    """
    if prefix.startswith("core="):
        return core_keys(prefix.removeprefix("core="))
    shown = [key for key in train_table() if key.name.startswith(prefix)]
    if not shown:
        names = sorted({key.name.partition(".")[0] for key in train_table()})
        raise UserError(f"list keys: no key begins with {prefix!r}; keys begin with {', '.join(names)}")
    lines = list(map(str, shown))
    if any(key.name == "core" for key in shown):
        lines += ["", "The options of a core, core.OPTION=VALUE: rlformers list keys core=NAME"]
    return lines


def core_keys(name: str) -> list[str]:
    """The options of a core, under a heading.

    Raises:
        UserError: There is no core of this name, or it cannot be loaded.
    """
    from rlformers.cores import registry

    keys = list(keys_of(registry.load(name).Config, "core."))
    return [f"Options of core={name}:" if keys else f"core={name} has no options", *map(str, keys)]


def keys_of(schema: type, prefix: str = "") -> Iterator[Key]:
    """The keys of a config dataclass and of the dataclasses in it."""
    notes: dict[str, str] = {}
    for base in reversed(schema.__mro__):
        notes |= _notes(base) if dataclasses.is_dataclass(base) else {}
    for field in dataclasses.fields(schema):
        factory = field.default_factory
        default: Any = factory() if factory is not dataclasses.MISSING else field.default
        if field.name == "core":
            yield Key("core", "NAME", default.name, notes["core"])
        elif dataclasses.is_dataclass(default):
            yield from keys_of(type(default), f"{prefix}{field.name}.")
        else:
            kind = getattr(field.type, "__name__", str(field.type))
            value = "" if default is dataclasses.MISSING else _as_typed(default)
            yield Key(f"{prefix}{field.name}", kind, value, notes.get(field.name, ""))


def _as_typed(value: Any) -> str:
    """A default as a user would type it: null, true, 1e6."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and value >= 1e5 and float(f"{value:.0e}") == value:
        return f"{value:.0e}".replace("e+0", "e")
    return str(value)


def _notes(schema: type) -> dict[str, str]:
    """What the keys mean: the comment beside each; none if there is no source code to read."""
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
