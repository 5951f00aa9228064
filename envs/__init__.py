"""Environments: the gymnax 1.x protocol, ports, probes and wrappers. `registry` names them without importing them."""

from typing import TYPE_CHECKING, Any

from rlformers.envs import wrappers

if TYPE_CHECKING:
    from rlformers.envs.checks.check import check
    from rlformers.envs.wrappers import *  # noqa: F403

__all__ = [*wrappers.__all__, "check"]


def __getattr__(name: str) -> Any:
    """Import public names on first use: they need jax, which takes seconds."""
    if name == "check":
        from rlformers.envs.checks.check import check

        return check
    if name in wrappers.__all__:
        return getattr(wrappers, name)
    raise AttributeError(f"module 'rlformers.envs' has no attribute {name!r}")
