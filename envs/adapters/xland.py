"""MiniGrid and XLand in JAX, from the package xminigrid (Nikulin et al. 2023).

The agent sees the `view_size` x `view_size` cells before it, walls included (it looks through
them), in the package's two layers: what is there and in which colour. What it carries is not in the
view.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xminigrid
from jaxtyping import Array, Int32, PRNGKeyArray, UInt8
from xminigrid.core.constants import FREE_TO_PUT_DOWN, NUM_COLORS, NUM_TILES
from xminigrid.rendering.rgb_render import render
from xminigrid.types import RuleSet, StepType, TimeStep

from rlformers.envs.adapters.dm_time_step import Step, TimeStepEnvironment, TimeStepState
from rlformers.envs.adapters.xland_benchmark import Benchmark
from rlformers.envs.adapters.xland_rulesets import Rulesets, ruleset_of
from rlformers.envs.environment import need_at_least
from rlformers.envs.meta.task import DEFAULT_SPLIT, MetaEnvironment
from rlformers.envs.spaces import Dict, Discrete, MultiDiscrete
from rlformers.envs.wrappers.trial import in_trials
from rlformers.errors import UserError


class XMiniGrid(TimeStepEnvironment):
    """An environment of xminigrid by its id.

    Actions: forward, turn right, turn left, pick up, put down, toggle. Reaching the goal terminates
    an episode and pays 1 - 0.9 t / max_steps; the limit of steps truncates it (discount 0 and 1 in
    the package).

    Args:
        env_id: As the package registers it.
        max_steps: Default: the package's, which depends on the size.
        direction: Show which way the agent faces, as MiniGrid does and the package's observation
            alone does not.

    Raises:
        UserError: `max_steps` below 1.
    """

    def __init__(self, env_id: str, max_steps: int | None = None, direction: bool = True):
        if max_steps is not None:
            need_at_least("env_kwargs.max_steps", max_steps, 1)
        changes = {} if max_steps is None else {"max_steps": max_steps}
        self.env, self.env_params = xminigrid.make(env_id, **changes)
        self.direction = direction

    def _see(self, view: UInt8[Array, "V V 2"], inner: Any) -> dict[str, Int32[Array, "..."]]:
        """The view's layers, row by row from the far left; the agent stands in the middle of the last row."""
        tiles, colors = jnp.moveaxis(view.astype(jnp.int32), -1, 0)
        direction = {"direction": jnp.asarray(inner.agent.direction, jnp.int32)} if self.direction else {}
        return {"tiles": tiles.ravel(), "colors": colors.ravel()} | direction

    def first(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """First observation of an episode, and the package's state."""
        step = self.env.reset(self.env_params, key)
        return self._see(step.observation, step.state), step.state

    def next(self, key: PRNGKeyArray, inner: Any, action: Any, params: Any) -> Step:
        """A step without reset."""
        # The package reads nothing but the state of the time step before.
        before = TimeStep(inner, StepType.MID, jnp.zeros(()), jnp.ones(()), None)
        step = self.env.step(self.env_params, before, action)
        end, terminated = step.last(), step.discount == 0
        obs = self._see(step.observation, step.state)
        return Step(obs, step.state, step.reward, end & terminated, end & ~terminated)

    def action_space(self, params: Any = None) -> Discrete:
        """Forward, right, left, pick up, put down, toggle."""
        return Discrete(self.env.num_actions(self.env_params))

    def observation_space(self, params: Any) -> Dict:
        """What is in the V x V cells before the agent, and which way it faces: up, right, down, left."""
        cells = self.env_params.view_size**2
        parts = {"tiles": MultiDiscrete([NUM_TILES] * cells), "colors": MultiDiscrete([NUM_COLORS] * cells)}
        return Dict(parts | ({"direction": Discrete(4)} if self.direction else {}))

    def render(self, state: TimeStepState, params: Any) -> UInt8[np.ndarray, "H W 3"]:
        """The package's picture of the whole grid."""
        return render(np.asarray(state.inner.grid), state.inner.agent, self.env_params.view_size)

    @property
    def name(self) -> str:
        """Name of the environment."""
        return type(self.env).__name__


class XLand(XMiniGrid, MetaEnvironment):
    """Rooms with objects, where a hidden ruleset says what to reach and what objects turn into.

    The task is a ruleset, drawn by `xland_rulesets.Rulesets` or from a file of the package's.
    Outside of a trial every episode has its own.

    Args:
        env_id: An id of the package that starts with "XLand".
        max_rules: See `Rulesets`.
        num_distractors: See `Rulesets`.
        split: See `Rulesets`. Default: "train", without a ruleset.
        ruleset: Always this one instead, whatever `max_rules` and `num_distractors`: a mapping to
            the package's encoding of "goal" [5], "rules" [n, 7] and "init_tiles" [m, 2].
        benchmark: A file of the package's rulesets to draw from, see `xland_benchmark.Benchmark`,
            split by their numbers, whatever `max_rules` and `num_distractors`.
        max_steps: See `XMiniGrid`.
        direction: See `XMiniGrid`.

    Raises:
        UserError: Arguments that `XMiniGrid`, `Rulesets`, `Benchmark` or `ruleset_of` refuses, more
            objects than there is room for, or a ruleset together with a split or a benchmark.
    """

    def __init__(
        self,
        env_id: str,
        max_rules: int = 1,
        num_distractors: int = 2,
        split: str | None = None,
        ruleset: Any = None,
        benchmark: str | None = None,
        max_steps: int | None = None,
        direction: bool = True,
    ):
        super().__init__(env_id, max_steps, direction)
        self.rulesets: Rulesets | Benchmark = (
            Rulesets(max_rules, num_distractors, split or DEFAULT_SPLIT)
            if benchmark is None
            else Benchmark(benchmark, split or DEFAULT_SPLIT)
        )
        self.ruleset = None if ruleset is None else ruleset_of(ruleset)
        if ruleset is not None and split not in (None, "all"):
            raise UserError(f"env_kwargs.split: cannot be combined with env_kwargs.ruleset, got {split!r}")
        if ruleset is not None and benchmark is not None:
            raise UserError("env_kwargs.benchmark: cannot be combined with env_kwargs.ruleset")
        laid_out = self.rulesets.num_laid_out if self.ruleset is None else len(self.ruleset.init_tiles)
        most = _free_cells(env_id) - 1  # one is the agent's
        if laid_out > most:
            drawn = "num_distractors" if benchmark is None else "benchmark"
            key = drawn if ruleset is None else "ruleset"
            raise UserError(f"env_kwargs.{key}: need at most {most} objects laid out in {env_id}, got {laid_out}")

    def sample_task(self, key: PRNGKeyArray, params: Any) -> RuleSet:
        """Draw a ruleset."""
        return self.rulesets.draw(key) if self.ruleset is None else self.ruleset

    def first(self, key: PRNGKeyArray, params: Any) -> tuple[Any, Any]:
        """First observation of an episode under the ruleset `params`, or else one of its own."""
        if not isinstance(params, RuleSet):
            key, key_task = jax.random.split(key)
            params = self.sample_task(key_task, params)
        step = self.env.reset(self.env_params.replace(ruleset=params), key)
        return self._see(step.observation, step.state), step.state


@functools.cache
def _free_cells(env_id: str) -> int:
    """Cells for objects and the agent. The package draws only doors, in walls, so every key gives the same number."""
    env, params = xminigrid.make(env_id)
    grid = jax.jit(lambda key: env.reset(params, key).state.grid)(jax.random.key(0))
    return int(jnp.isin(grid[..., 0], FREE_TO_PUT_DOWN).sum())


make_xland_trials = in_trials(XLand)
