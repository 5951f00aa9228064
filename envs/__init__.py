"""Environments: the gymnax 1.x protocol, ports, probes and wrappers. `registry` names them without importing them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlformers.envs.checks.check import check

__all__ = ["check"]


def __getattr__(name: str) -> Any:
    """Import `check` on first use: it needs jax, which takes seconds."""
    if name == "check":
        from rlformers.envs.checks.check import check

        return check
    raise AttributeError(f"module 'rlformers.envs' has no attribute {name!r}")
