"""Any environment of Gymnasium, stepped on the host. Slow: every step leaves the compiled program.

The program holds handles; the environments are in `slots`. All copies of a step, over vmapped environments and seeds,
share one call to the host, which steps one after the other and resets those whose episode has ended (see `resets`),
with seeds drawn from the keys of the resets: the same keys and actions make the same episodes if the environment keeps
Gymnasium's promise that `reset(seed=...)` determines what follows.
"""

import difflib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Int32, PRNGKeyArray, UInt8

from rlformers.envs import spaces
from rlformers.envs.adapters.gymnax_catalogue import VELOCITIES
from rlformers.envs.adapters.host import resets
from rlformers.envs.adapters.host.failures import keep
from rlformers.envs.adapters.host.masks import ShowsMask
from rlformers.envs.adapters.host.slots import NO_HANDLE, RESET, STEP, Slots
from rlformers.envs.adapters.host.spaces import assemble, convert
from rlformers.envs.environment import UNLIMITED, Environment, TimedParams
from rlformers.envs.reserved import RESERVED, is_reserved
from rlformers.errors import UserError, complaint


class HostState(NamedTuple):
    """What the program knows of an environment on the host."""

    handle: Int32[Array, ""]  # of its slot in the pool
    clock: Int32[Array, ""]  # resets and steps of that slot so far
    time: Int32[Array, ""]  # steps made in this episode
    truncated: Bool[Array, ""]  # by the environment itself


class GymnasiumHost(Environment):
    """An environment of Gymnasium in our protocol, on the host.

    Its time limit is ours: `params.max_steps_in_episode`, by default what it is registered with. A step after the end
    of an episode changes nothing, pays nothing and says again that it has ended.

    Args:
        env_id: As Gymnasium has it, `CartPole-v1`, `namespace/Name-v0` or `module:Name-v0`; without a version it is the
            newest.
        max_copies: Copies at most that resets may make; automatic resets make none.
        action_mask: Where the environment says which actions are possible, see `masks.ShowsMask`: "info",
            "method" or "auto". The observation becomes a dict with "action_mask", which the policy keeps to.
        log_info: Names of numbers in its info, such as "is_success". `info["episode_<name>"]` is the last that an
            episode has shown, 0 before the first.
        **kwargs: Of `gymnasium.make`.

    Raises:
        UserError: Unknown id, or spaces without a fixed size.
    """

    on_host = True

    def __init__(
        self,
        env_id: str,
        max_copies: int = 16384,
        action_mask: str | None = None,
        log_info: Sequence[str] = (),
        **kwargs: Any,
    ):
        if max_copies < 1:
            raise UserError(f"env_kwargs.max_copies: need at least 1, got {max_copies!r}")
        if "max_episode_steps" in kwargs:
            raise UserError("env_kwargs.max_episode_steps: the limit is env_params.max_steps_in_episode")
        self.env_id = env_id
        self.log_info = tuple(log_info)
        for name in self.log_info:
            if is_reserved(f"episode_{name}"):
                raise UserError(f"env_kwargs.log_info: {name!r} is a name of the learner's own ({', '.join(RESERVED)})")
        env, spec = _try_to_make(env_id, kwargs)
        if action_mask is not None:
            env = ShowsMask(env, action_mask)
            env.reset(seed=0)  # says if there is no mask, before anything is compiled
        self._draws = kwargs.get("render_mode") == "rgb_array"
        self._limit = spec.max_episode_steps or UNLIMITED
        self._observations = convert(env.observation_space, "observation")
        self._actions = convert(env.action_space, "action")
        self.slots = Slots(
            partial(_make, spec, kwargs, action_mask),  # not the id: a newer version may be registered between two
            (env.observation_space, env.action_space),
            (self._observations, self._actions),
            max_copies,
            self.log_info,
            partial(keep, env_id),
        )
        velocities = _velocities(env, spec.id)
        if velocities:
            self.velocities = velocities
        env.close()

    @property
    def default_params(self) -> TimedParams:
        """The registered time limit."""
        return TimedParams(max_steps_in_episode=self._limit)

    @property
    def name(self) -> str:
        """`gymnasium/` and Gymnasium's id."""
        return f"gymnasium/{self.env_id}"

    def observation_space(self, params: Any) -> spaces.Space:
        """Space of the observations."""
        return self._observations

    def action_space(self, params: Any = None) -> spaces.Space:
        """Space of the actions."""
        return self._actions

    def step(self, key: PRNGKeyArray, state: Any, action: Any, params: Any = None) -> Any:
        """Make a step; reset the copies whose episode has ended, and no others."""
        return resets.step(self, key, state, action, self.default_params if params is None else params)

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, HostState]:
        """Start an episode: in a new copy, or in that of the state that an automatic reset replaces."""
        seed = jax.random.bits(key, (), jnp.uint32)
        present = resets.replacement()
        if present is None:
            answer = self._ask(operation=RESET, handle=NO_HANDLE, seed=seed)
            obs, handle, clock = self._observation(answer, "observation"), answer["handle"], answer["clock"]
        else:
            begun, handle = present.begun, present.state.handle
            needed = present.wanted if begun is None else present.wanted & ~begun.here
            answer = self._ask(needed, operation=RESET, handle=handle, clock=present.state.clock, seed=seed)
            obs, clock = self._observation(answer, "observation"), answer["clock"]
            if begun is not None:
                obs = jax.tree.map(partial(jnp.where, begun.here), begun.observation, obs)
                clock = jnp.where(begun.here, begun.clock, clock)
        return obs, HostState(handle, clock, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.bool_))

    def step_env(
        self, key: PRNGKeyArray, state: HostState, action: Any, params: Any
    ) -> tuple[Any, HostState, Array, Array, dict]:
        """Make a step, without automatic reset. The key is not used: the seed of the reset has decided everything."""
        coming = resets.coming_reset()
        leaves = [spaces.as_dtype(leaf, space.dtype) for space, leaf in spaces.leaves(self._actions, action)]
        answer = self._ask(
            operation=STEP,
            over=self.is_truncated(state, params),
            last=state.time + 1 >= params.max_steps_in_episode,
            goes_on=coming is not None,
            handle=state.handle,
            clock=state.clock,
            seed=0 if coming is None else jax.random.bits(coming, (), jnp.uint32),
            **{f"action{i}": leaf for i, leaf in enumerate(leaves)},
        )
        clock = answer["clock"]
        info: dict[str, Any] = {f"episode_{name}": answer["logged"][i] for i, name in enumerate(self.log_info)}
        if coming is not None:
            info[resets.BEGUN] = resets.Begun(answer["begun"], self._observation(answer, "first"), clock + 1)
        time = state.time + (clock != state.clock)
        after = HostState(answer["handle"], clock, time, answer["truncated"])
        return self._observation(answer, "observation"), after, answer["reward"], answer["terminated"], info

    def is_truncated(self, state: HostState, params: Any) -> Bool[Array, ""]:
        """Whether the time limit is reached, or the environment has truncated the episode itself."""
        return state.truncated | (state.time >= params.max_steps_in_episode)

    def makes_steps_at_once(self, number: int) -> None:
        """Expect so many times the steps in one of the program's own, as `ActionRepeat` makes them."""
        self.slots.steps_at_once *= number

    def keep_pictures(self) -> None:
        """Keep a picture of every state that is made from now on, where `render_mode` is rgb_array: for `render`."""
        self.slots.keeps_pictures = self._draws

    @property
    def draws_itself(self) -> bool:
        """Whether `render` has pictures."""
        return self.slots.keeps_pictures

    def render(self, state: HostState, params: Any) -> UInt8[np.ndarray, "H W 3"]:
        """The environment's own picture of a state, which may be long past.

        Raises:
            UserError: What it draws is no picture.
        """
        picture = np.asarray(self.slots.picture(int(state.handle), int(state.clock)))
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] not in (3, 4):
            given = f"{picture.dtype} {list(picture.shape)}"
            raise UserError(f"env: {self.env_id} draws no pictures: render gives {given}, need uint8 [H, W, 3]")
        return picture[..., :3]

    def close(self) -> None:
        """Close all copies. Their states become invalid."""
        self.slots.close()

    def _ask(self, needed: Bool[Array, ""] | None = None, **question: Any) -> dict[str, Array]:
        """The answer of the host, which is called once for all copies; zeros if none of them is `needed`.

        The call is declared pure, though it is not: `slots` sees to repetitions, and data flow to the order. Calls that
        JAX keeps in order cannot be in a batch of loops, where the agents of several seeds are evaluated.
        """
        record, size = self.slots.question, self.slots.answer.size
        row = record.pack({name: question.get(name, np.zeros(*field[::-1])) for name, field in record.fields.items()})
        if needed is not None:
            row = jnp.where(needed, row, 0)  # NOTHING
            return self.slots.answer.unpack(_where_any(self.slots, size, needed, row))
        shape = jax.ShapeDtypeStruct((size,), jnp.uint8)
        return self.slots.answer.unpack(jax.pure_callback(self.slots, shape, row, vmap_method="broadcast_all"))

    def _observation(self, answer: dict[str, Array], name: str) -> Any:
        leaves = spaces.leaves(self._observations)
        return assemble(self._observations, (answer[f"{name}{i}"] for i in range(len(leaves))))


def _where_any(call: Callable[[Any], Any], size: int, needed: Bool[Array, "*B"], rows: Array) -> Array:
    """Rows of bytes [*B, size] that the host answers to rows; zeros, without a call, if none of them is needed."""
    shape = jax.ShapeDtypeStruct((*needed.shape, size), jnp.uint8)

    @custom_vmap
    def ask(needed: Array, rows: Array) -> Array:
        return jax.lax.cond(
            jnp.any(needed),
            lambda rows: jax.pure_callback(call, shape, rows),
            lambda _: jnp.zeros(shape.shape, shape.dtype),
            rows,
        )

    @ask.def_vmap
    def ask_all(batch: int, batched: Any, needed: Array, rows: Array) -> tuple[Array, bool]:
        pairs = zip(batched, (needed, rows), strict=True)
        needed, rows = (x if has else jnp.broadcast_to(x, (batch, *x.shape)) for has, x in pairs)
        return _where_any(call, size, needed, rows), True

    return ask(needed, rows)


def _make(env: Any, kwargs: dict[str, Any], action_mask: str | None = None) -> Any:
    """An environment of an id or a spec, without Gymnasium's own time limit, which comes with ours."""
    made = gymnasium.make(env, max_episode_steps=-1, disable_env_checker=True, **kwargs)
    return made if action_mask is None else ShowsMask(made, action_mask)


@contextmanager
def _importing_from_here() -> Iterator[None]:
    """Let `module:Name-v0` be a module in the current directory, as it is for `python -m`."""
    sys.path.insert(0, os.getcwd())
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(os.getcwd())


def _try_to_make(env_id: str, kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """One environment, and the spec that its id stands for.

    Raises:
        UserError: Gymnasium does not have it; one line, with the nearest id.
    """
    try:
        with _importing_from_here():
            env = _make(env_id, kwargs)
        return env, gymnasium.spec(env.unwrapped.spec.id)  # its own spec has no time limit
    except gymnasium.error.UnregisteredEnv as error:
        name = env_id.rpartition(":")[2]
        near = difflib.get_close_matches(name, gymnasium.registry, n=1, cutoff=0.4)
        hint = f"; did you mean 'gymnasium/{near[0]}'?" if near else ""
        if isinstance(error, gymnasium.error.NamespaceNotFound):
            hint = f"; 'gymnasium/<module>:{name}' imports what registers it"
        raise UserError(f"env: 'gymnasium/{env_id}' is none of the ids that Gymnasium has{hint}") from error
    except (gymnasium.error.Error, ImportError) as error:
        reason = str(error).strip().partition("\n")[0]
        line = f"env: 'gymnasium/{env_id}' cannot be made: {reason}"
        raise complaint(line, error, installed=False) from error


def _velocities(env: Any, env_id: str) -> tuple[int, ...]:
    """Which entries of the observation are velocities, where that is known.

    The classic tasks observe what gymnax's copies do. Gymnasium's own MuJoCo tasks say of which parts their observation
    is made. With parts besides positions, velocities and contact forces it is not known: those of the humanoids are
    velocities too (cvel), or mix both.
    """
    if env_id in VELOCITIES:
        return VELOCITIES[env_id]
    structure = getattr(env.unwrapped, "observation_structure", {})
    parts = {name: size for name, size in structure.items() if size and name != "skipped_qpos"}
    if tuple(parts) not in (("qpos", "qvel"), ("qpos", "qvel", "cfrc_ext")):
        return ()
    return tuple(range(parts["qpos"], parts["qpos"] + parts["qvel"]))
