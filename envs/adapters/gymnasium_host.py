"""Any environment of Gymnasium, stepped on the host. Slow: every step leaves the compiled program.

The program holds handles; the environments are in a `host_pool.Pool`. All copies of a step, over vmapped environments
and seeds, share one call to the host, which steps one after the other. A reset happens only where it is meant (see
`host_resets`), with a seed drawn from its key: the same keys and actions make the same episodes if the environment
keeps Gymnasium's promise that `reset(seed=...)` determines what follows.
"""

import difflib
import math
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
from jaxtyping import Array, Bool, Int32, PRNGKeyArray, UInt8

from rlformers.envs import spaces
from rlformers.envs.adapters.gymnasium_masks import ShowsMask
from rlformers.envs.adapters.gymnasium_spaces import assemble, convert, from_leaves, to_leaves
from rlformers.envs.adapters.gymnax_catalogue import VELOCITIES
from rlformers.envs.adapters.host_failures import keep
from rlformers.envs.adapters.host_pool import NO_HANDLE, Answer, Pool, StaleState
from rlformers.envs.adapters.host_resets import replacement
from rlformers.envs.adapters.host_resets import step as host_step
from rlformers.envs.environment import UNLIMITED, Environment, TimedParams
from rlformers.envs.reserved import RESERVED, is_reserved
from rlformers.errors import UserError, complaint

# Reward, terminated, truncated, handle and clock where nothing was asked for.
_NOTHING = (0.0, False, False, NO_HANDLE, NO_HANDLE)


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
        action_mask: Where the environment says which actions are possible, see `gymnasium_masks.ShowsMask`: "info",
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
        # Of the spec, not the id: a newer version may be registered between two copies.
        self.pool = Pool(partial(_make, spec, kwargs, action_mask), max_copies, self.log_info)
        if action_mask is not None:
            env = ShowsMask(env, action_mask)
            env.reset(seed=0)  # says if there is no mask, before anything is compiled
        self._draws = kwargs.get("render_mode") == "rgb_array"
        self._limit = spec.max_episode_steps or UNLIMITED
        self._theirs = env.observation_space, env.action_space
        self._observations = convert(env.observation_space, "observation")
        self._actions = convert(env.action_space, "action")
        self._places = spaces.named_leaves(self._observations)
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
        return host_step(self, key, state, action, self.default_params if params is None else params)

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, HostState]:
        """Start an episode: in a new copy, or in that of the state that an automatic reset replaces."""
        seed = jax.random.bits(key, (), jnp.uint32)
        present = replacement()
        if present is None:
            wanted, handle, clock = jnp.ones((), jnp.bool_), *[jnp.full((), NO_HANDLE, jnp.int32)] * 2
        else:
            wanted, (handle, clock, *_) = present
        obs, _, _, _, handle, clock, _ = self._call(self._reset, wanted, handle, clock, seed)
        return obs, HostState(handle, clock, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.bool_))

    def step_env(
        self, key: PRNGKeyArray, state: HostState, action: Any, params: Any
    ) -> tuple[Any, HostState, Array, Array, dict]:
        """Make a step, without automatic reset. The key is not used: the seed of the reset has decided everything."""
        over = self.is_truncated(state, params)
        leaves = [spaces.as_dtype(leaf, space.dtype) for space, leaf in spaces.leaves(self._actions, action)]
        obs, reward, terminated, truncated, handle, clock, logged = self._call(
            self._step, state.handle, state.clock, over, *leaves
        )
        info = {f"episode_{name}": logged[i] for i, name in enumerate(self.log_info)}
        time = state.time + (clock != state.clock)
        return obs, HostState(handle, clock, time, truncated), reward, terminated, info

    def is_truncated(self, state: HostState, params: Any) -> Bool[Array, ""]:
        """Whether the time limit is reached, or the environment has truncated the episode itself."""
        return state.truncated | (state.time >= params.max_steps_in_episode)

    def keep_pictures(self) -> None:
        """Keep a picture of every state that is made from now on, where `render_mode` is rgb_array: for `render`."""
        self.pool.keeps_pictures = self._draws

    @property
    def draws_itself(self) -> bool:
        """Whether `render` has pictures."""
        return self.pool.keeps_pictures

    def render(self, state: HostState, params: Any) -> UInt8[np.ndarray, "H W 3"]:
        """The environment's own picture of a state, which may be long past.

        Raises:
            UserError: What it draws is no picture.
        """
        picture = np.asarray(self.pool.picture(int(state.handle), int(state.clock)))
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] not in (3, 4):
            given = f"{picture.dtype} {list(picture.shape)}"
            raise UserError(f"env: {self.env_id} draws no pictures: render gives {given}, need uint8 [H, W, 3]")
        return picture[..., :3]

    def close(self) -> None:
        """Close all copies. Their states become invalid."""
        self.pool.close()

    def _call(self, function: Any, *args: Array) -> tuple[Any, Array, Array, Array, Array, Array, Array]:
        """Call the host once for all copies. Declared pure: the pool sees to it, and data flow to the order."""
        leaves = [leaf for leaf, _ in spaces.leaves(self._observations)]
        shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
        dtypes = (jnp.float32, jnp.bool_, jnp.bool_, jnp.int32, jnp.int32)
        logged = jax.ShapeDtypeStruct((len(self.log_info),), jnp.float32)
        results = (shapes, *(jax.ShapeDtypeStruct((), dtype) for dtype in dtypes), logged)
        callback = _in_numpy(function, self.env_id)
        parts, *rest = jax.pure_callback(callback, results, *args, vmap_method="broadcast_all")
        return assemble(self._observations, iter(parts)), *rest

    def _reset(self, wanted: Any, handle: Any, clock: Any, seed: Any) -> Any:
        """On the host: reset the wanted among the copies [...]."""
        batch = np.shape(wanted)
        rows = zip(*(np.ravel(x).tolist() for x in (wanted, handle, clock, seed)), strict=True)
        with self.pool.lock:
            answers = [self.pool.reset(*row) if needed else None for needed, *row in rows]
        return self._pack(answers, batch)

    def _step(self, handle: Any, clock: Any, over: Any, *action: Any) -> Any:
        """On the host: step all copies [...]."""
        batch = np.shape(handle)
        parts = [np.reshape(x, (math.prod(batch), *np.shape(x)[len(batch) :])) for x in action]
        rows = zip(*(np.ravel(x).tolist() for x in (handle, clock, over)), strict=True)
        answers: list[Answer | None] = []
        with self.pool.lock:
            for index, (slot, time, ended) in enumerate(rows):
                leaves = [part[index] for part in parts]
                question = b"".join(leaf.tobytes() for leaf in leaves)
                answers.append(self.pool.step(slot, time, from_leaves(self._theirs[1], leaves), question, ended))
        return self._pack(answers, batch)

    def _pack(self, answers: Sequence[Answer | None], batch: tuple[int, ...]) -> Any:
        """Answers of copies as arrays [..., *shape]; zeros where there is none, and no handle."""
        leaves = [leaf for leaf, _ in spaces.leaves(self._observations)]
        parts = [np.zeros((len(answers), *leaf.shape), leaf.dtype) for leaf in leaves]
        numbers = np.array([_NOTHING if answer is None else answer[1:6] for answer in answers])
        logged = np.zeros((len(answers), len(self.log_info)), np.float32)
        for index, answer in enumerate(answers):
            if answer is not None:
                logged[index] = answer.logged
                values = to_leaves(self._theirs[0], answer.observation)
                for (path, leaf, _), part, value in zip(self._places, parts, values, strict=True):
                    if np.shape(value) != tuple(leaf.shape):
                        place = "".join(f"[{key!r}]" for key in path)
                        given, wanted = list(np.shape(value)), list(leaf.shape)
                        raise UserError(f"env: observation{place} has the shape {given}, its space {wanted}")
                    part[index] = value
        dtypes = (np.float32, np.bool_, np.bool_, np.int32, np.int32)
        columns: list[Any] = [numbers[:, i].reshape(batch).astype(dtype) for i, dtype in enumerate(dtypes)]
        return [part.reshape(batch + part.shape[1:]) for part in parts], *columns, logged.reshape(*batch, -1)


def _in_numpy(function: Callable[..., Any], env_id: str) -> Callable[..., Any]:
    """The function with NumPy arguments. A callback gets JAX arrays, whose every operation is a program by itself.

    Raises:
        HostError: What the environment raised, with its own traceback.
    """

    def call(*args: Any) -> Any:
        try:
            return function(*map(np.asarray, args))
        except StaleState:  # is about how the program uses its states
            raise
        except Exception as error:
            raise keep(error, env_id, function.__name__.strip("_")) from None

    return call


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
