"""The schema as Hydra sees it: mutable twins of the frozen dataclasses, their keys, and their types in words."""

import contextlib
import typing
from collections.abc import Iterator
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from rlformers.config import ExperimentConfig
from rlformers.cores import registry

# What these may hold is the business of the environment, and of the layers of the core `stack`.
FREE_NODES = ("env_params", "env_kwargs", "eval.env_params", "eval.env_kwargs", "core.options")


def in_free_node(key: str) -> bool:
    """Whether a key is in one of FREE_NODES, and not such a node itself."""
    return key.startswith(tuple(f"{node}." for node in FREE_NODES))


_stored: dict[str, registry.Entry] = {}


def store_schema() -> None:
    """Tell Hydra the schema, and the group `core`; again only if there are other cores than the last time."""
    if _stored == registry.entries():
        return
    _stored.clear()
    _stored.update(registry.entries())
    store = ConfigStore.instance()
    store.store("schema", _root(), provider="rlformers")
    for name in registry.entries():
        with contextlib.suppress(ValueError):  # a broken plug-in matters when it is chosen
            *folders, file = name.split("/")
            group = "/".join(["core", *folders])
            store.store(file, core_node(name), group=group, package="core", provider="rlformers")


def core_node(name: str) -> DictConfig:
    """The options of a core at their defaults, typed, beside its name.

    Raises:
        ValueError: No such core, or a plug-in that is broken.
    """
    schema = registry.load(name).Config
    with registry.in_one_line(name, "has options that Hydra cannot hold"):
        return OmegaConf.structured(_node(schema, name=(str, name)))


def _node(schema: Any, **extra: tuple[Any, Any]) -> type:
    """A mutable twin of a frozen config dataclass, for Hydra to merge into: values are checked after merging."""
    types = typing.get_type_hints(schema)
    twins: list[tuple[str, Any, Any]] = [(name, kind, field(default=value)) for name, (kind, value) in extra.items()]
    for item in fields(schema):
        kind = types[item.name]
        if item.name in extra:
            continue
        if isinstance(kind, type) and is_dataclass(kind):
            kind = _node(kind)
            twins.append((item.name, kind, field(default_factory=kind)))
        elif item.default_factory is not MISSING:
            twins.append((item.name, kind, field(default_factory=item.default_factory)))
        else:
            twins.append((item.name, kind, field(default="???" if item.default is MISSING else item.default)))
    return make_dataclass(schema.__name__, twins)


def _root() -> type:
    # core_options: {s5: {state_size: 256}} is how an experiment file sets options of a core only if it is chosen.
    return _node(ExperimentConfig, core=(Any, None), core_options=(Any, None))


def typed_config(core: str) -> DictConfig:
    """The default config with the options of a core, typed.

    Raises:
        ValueError: No such core.
    """
    config = OmegaConf.structured(_root())
    config.core = core_node(core)
    return config


def typed_options(schema: Any) -> DictConfig:
    """The defaults of a config dataclass, typed, for values to be changed in place."""
    return OmegaConf.structured(_node(schema))


def leaves(node: DictConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key that can be set, with its type."""
    for name in node:
        child: Any = node._get_node(name)
        key = f"{prefix}{name!s}"
        if not isinstance(child, DictConfig) and key != "core_options":
            annotation = child._metadata.ref_type
            yield key, annotation | None if annotation is not Any and child._metadata.optional else annotation
        elif isinstance(child, DictConfig) and key not in (*FREE_NODES, "core_options"):
            yield from leaves(child, f"{key}.")
