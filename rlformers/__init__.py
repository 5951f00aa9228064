"""PPO agents with pluggable sequence memories for partially observable and meta reinforcement learning.

The subpackages `envs`, `agents` and the folder `configs` are symlinks to the folders of the same
name beside `rlformers/` in the repository; in an installed package they are ordinary folders.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rlformers import old_names

if TYPE_CHECKING:
    from rlformers.cores.core import Core
    from rlformers.cores.registry import make_core, register_core
    from rlformers.envs.registry import make_env, register_env

old_names.install()

__version__ = "0.1.0"
__all__ = ["Core", "make_core", "make_env", "register_core", "register_env"]

_homes = {
    "Core": "rlformers.cores.core",
    "make_core": "rlformers.cores.registry",
    "register_core": "rlformers.cores.registry",
    "make_env": "rlformers.envs.registry",
    "register_env": "rlformers.envs.registry",
}


def __getattr__(name: str) -> Any:
    """Import public names on first use: `import rlformers` is instant, jax and gymnax take seconds."""
    if name in _homes:
        return getattr(import_module(_homes[name]), name)
    raise AttributeError(f"module 'rlformers' has no attribute {name!r}")
