"""Small arcade games in pixels, each fully or partially observable, from the package popgym-arcade (Wang et al. 2025).

The package depends on stable-gymnax, whose files would replace those of gymnax 1.x, which we need.
It uses only the spaces, and works with ours. So install it without its dependencies.
"""

import dataclasses
from typing import Any

import jax

from rlformers.envs.adapters.legacy_gymnax import LegacyGymnax
from rlformers.errors import UserError

try:
    import popgym_arcade
except ModuleNotFoundError as error:
    needs = "pip install 'rlformers[arcade]', then pip install --no-deps 'popgym-arcade>=0.0.7,<0.1'"
    raise ImportError(f"needs {error.name}: {needs}") from error

# Games whose own flag of termination is set by the limit of steps, too.
FOLDED = ("CartPole", "Breakout", "Tetris")


class Arcade(LegacyGymnax):
    """A game of popgym-arcade by its id, as images uint8 [S, S, 3].

    The package's info tells terminated and truncated apart, where both are set an episode counts as
    terminated; except in CartPole, Breakout and Tetris, where the limit of steps sets both, and it
    counts as truncated.

    Args:
        env_id: As the package names it, e.g. "CountRecallEasy".
        partial_obs: Hide what has to be remembered, or show it.
        obs_size: S, 128 or 256.

    Raises:
        UserError: Another size.
    """

    def __init__(self, env_id: str, partial_obs: bool = True, obs_size: int = 128):
        if obs_size not in (128, 256):
            raise UserError(f"env_kwargs.obs_size: need 128 or 256, got {obs_size!r}")
        env, _ = popgym_arcade.make(env_id, partial_obs=partial_obs, obs_size=obs_size)
        env.is_terminated = getattr(env, "is_terminal", None)  # gymnax 1.0 renamed it; `env.discount` asks for it
        super().__init__(env)
        self._params = _read_by(env)
        self.folded = any(game in env_id for game in FOLDED)

    @property
    def default_params(self) -> Any:
        """The package's, but for a limit of steps that the game does not read."""
        return self._params

    def ends(self, state: Any, done: Any, info: dict[str, Any], params: Any) -> tuple[Any, Any]:
        """What the package's info says."""
        terminated, truncated = (done & (info[name] != 0) for name in ("terminated", "truncated"))
        if self.folded:
            return terminated & ~truncated, truncated
        return terminated, truncated & ~terminated


def _read_by(env: Any) -> Any:
    """The params of a game. Some have a field, 1 by default, for a limit that they take from their constructor."""
    params = env.default_params
    values = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    limit = values.get("max_steps_in_episode")
    if limit is None or limit == env.max_steps_in_episode:
        return params
    del values["max_steps_in_episode"]
    others = dataclasses.make_dataclass("Params", values, frozen=True, namespace={"replace": dataclasses.replace})
    return jax.tree_util.register_dataclass(others)(**values)
