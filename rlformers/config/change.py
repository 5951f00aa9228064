"""Changes of a config that exists, in the words of the command line."""

from omegaconf import DictConfig, OmegaConf

from rlformers.config import ExperimentConfig
from rlformers.config.compose import check_override, from_node, given, parse, session, to_dict, typed_values
from rlformers.errors import UserError


def change(config: ExperimentConfig, overrides: list[str]) -> ExperimentConfig:
    """The same experiment with some values changed.

    Raises:
        UserError: As in `apply`, and where values do not fit together.
    """
    node = typed_values(to_dict(config))
    apply(node, overrides)
    return from_node(node)


def apply(node: DictConfig, overrides: list[str]) -> None:
    """Change values of a typed node in place; no sweeps, and no groups such as `core=NAME`.

    Raises:
        UserError: One line that names the key, what was given and what is allowed.
    """
    with session() as overrides_parser:
        for override in parse(overrides, overrides_parser):
            key = override.key_or_group
            if override.is_sweep_override():
                raise UserError(f"{key}: {given(override)!r} is a sweep; quote it if it is meant as one value")
            if key in ("core", "experiment"):
                raise UserError(f"{key}: cannot be changed; config.yaml of the run says what it is")
            check_override(node, override)
            OmegaConf.update(node, key, override.value(), force_add=True)
