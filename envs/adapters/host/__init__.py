"""Environments that live on the host, outside of the compiled program: those of Gymnasium.

The program asks for a step of all copies at once, in one callback, and gets their observations back; where an episode
has ended, also the first observation of the next one.

* `environment`: `GymnasiumHost`, the side of the program;
* `records`: questions and answers as rows of bytes;
* `slots`: the side of the host, which steps and resets;
* `spaces`, `masks`: what Gymnasium's environments take and show, in our spaces;
* `resets`: the automatic reset of environments on the host, for `Environment.step` and `Trial`;
* `failures`: the traceback of a user's environment.

All else knows two things of it, which are here and import neither JAX nor Gymnasium.
"""

from typing import Any

from rlformers.envs.adapters.host.failures import host_failure

__all__ = ["host_failure", "on_host"]


def on_host(env: Any) -> bool:
    """Whether this environment, or the one that it wraps, lives outside of the program."""
    return bool(getattr(env, "on_host", False))
