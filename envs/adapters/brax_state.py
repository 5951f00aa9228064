"""Brax and the DeepMind control suite of MuJoCo Playground: simulators whose `reset` and `step` return a State.

They have no time limit of their own. Their `done` comes from the physics (a fall), so it is a
termination. Numbers that are not finite, which Brax does not check, terminate too. The limit of
1000 steps is a truncation, in our params. Resets are theirs and drawn anew each time, not cached as
in their training wrappers.
"""

import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs import spaces
from rlformers.envs.adapters.cast import cast, like, strong
from rlformers.envs.environment import PlainEnvironment, TimedParams
from rlformers.errors import UserError

TIME_LIMIT = 1000

# Options of Playground's configurations that change nothing here: our limit and wrappers stand in their place, and the
# physics is always MJX in JAX, where `naconmax` and `njmax`, sizes of arrays of MuJoCo Warp, are not read.
_NOT_OURS = ("impl", "vision", "vision_config", "episode_length", "action_repeat", "naconmax", "njmax")

# Brax: observations that are positions, then all velocities.
_BRAX_VELOCITIES_LAST = (
    "ant",
    "halfcheetah",
    "hopper",
    "inverted_double_pendulum",
    "inverted_pendulum",
    "walker2d",
)
# Brax: what else their `_get_obs` says. The humanoids mix both in inertias and forces.
_BRAX_VELOCITIES = {"pusher": range(7, 14), "reacher": range(6, 8), "fast": range(1, 2)}
# Playground: entries after the velocities: touch, and for the turning finger the target and its distance.
_AFTER_VELOCITIES = {"FingerSpin": 2, "FingerTurnEasy": 5, "FingerTurnHard": 5, "HopperHop": 2, "HopperStand": 2}


class SimulatorState(NamedTuple):
    """State of `BraxState`."""

    simulator: Any  # theirs, which repeats observation and reward
    time: Int32[Array, ""]  # steps made in this episode


class BraxState(PlainEnvironment):
    """A simulator with Brax's interface.

    Args:
        simulator: `reset(key)` and `step(state, action)` return an object with `obs`, `reward` and
            `done`.
        name: The id.
        velocities: Entries of the observation that are velocities; None if that is not known.
    """

    default_params = TimedParams(max_steps_in_episode=TIME_LIMIT)

    def __init__(self, simulator: Any, name: str, velocities: tuple[int, ...] | None = None):
        self.simulator = simulator
        self._name = name
        self._like = jax.eval_shape(simulator.reset, jax.random.key(0))
        if velocities is not None:
            self.velocities = velocities

    @property
    def name(self) -> str:
        """The id."""
        return self._name

    def observation_space(self, params: Any) -> spaces.Space:
        """Vectors, or a dict of vectors, without bounds."""

        def box(obs: Any) -> spaces.Space:
            if isinstance(obs, Mapping):
                return spaces.Dict({key: box(part) for key, part in obs.items()})
            return spaces.Box(-jnp.inf, jnp.inf, obs.shape, jnp.float32)

        return box(self._like.obs)

    def action_space(self, params: Any = None) -> spaces.Box:
        """[-1, 1]^A, in shares of what the motors can do."""
        return spaces.Box(-1.0, 1.0, (self.simulator.action_size,), jnp.float32)

    def reset_env(self, key: PRNGKeyArray, params: Any) -> tuple[Any, SimulatorState]:
        """Start an episode."""
        state = strong(self.simulator.reset(key))
        return _float32(state.obs), SimulatorState(state, jnp.zeros((), jnp.int32))

    def step_env(
        self, key: PRNGKeyArray, state: SimulatorState, action: Float32[Array, " A"], params: Any
    ) -> tuple[Any, SimulatorState, Float32[Array, ""], Bool[Array, ""], dict]:
        """Make a step, without automatic reset.

        A simulation that blows up terminates and pays 0. Numbers of its observation that are not
        finite are shown as 0.
        """
        # Brax and Playground write their metrics into the dict that they are given: let it be a copy.
        copy = jax.tree.map(lambda x: x, state.simulator)
        after = like(self.simulator.step(copy, action), state.simulator)
        obs, reward = _float32((after.obs, after.reward))
        finite = jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves((obs, reward))]).all()
        obs = jax.tree.map(lambda x: jnp.where(jnp.isfinite(x), x, 0.0), obs)
        terminated = (after.done > 0) | ~finite
        return obs, SimulatorState(after, state.time + 1), jnp.where(finite, reward, 0.0), terminated, {}


def _float32(tree: Any) -> Any:
    return jax.tree.map(lambda x: cast(x, jnp.float32), tree)


def make_brax(env_id: str, **kwargs: Any) -> BraxState:
    """A task of Brax, e.g. `make_brax("ant", backend="spring")`.

    Args:
        env_id: As in `brax.envs`.
        **kwargs: Of the task's constructor; `backend` is one of generalized, positional, spring,
            mjx.

    Raises:
        UserError: An argument that the constructor does not have, a backend that it does not know,
            or `n_frames` that make no step of the physics.
    """
    envs = _import_brax()
    constructor = envs._envs[env_id]
    allowed = [name for name, p in inspect.signature(constructor).parameters.items() if p.kind != p.VAR_KEYWORD]
    allowed += [name for name in ("backend", "debug", "n_frames") if name not in allowed]
    for name in kwargs:
        if name not in allowed:
            raise UserError(f"env_kwargs.{name}: env 'brax/{env_id}' has {', '.join(allowed)}")
    backends = ("generalized", "positional", "spring", "mjx")
    if kwargs.get("backend", "mjx") not in backends:
        raise UserError(f"env_kwargs.backend: need one of {', '.join(backends)}, got {kwargs['backend']!r}")
    n_frames = kwargs.get("n_frames", 1)
    if isinstance(n_frames, bool) or not isinstance(n_frames, int) or n_frames < 1:
        raise UserError(f"env_kwargs.n_frames: need an integer of at least 1, got {n_frames!r}")
    with warnings.catch_warnings():  # Brax recommends MJX for new work
        warnings.simplefilter("ignore")
        simulator = constructor(**kwargs)
    size = jax.eval_shape(simulator.reset, jax.random.key(0)).obs.shape[0]
    velocities = _BRAX_VELOCITIES.get(env_id)
    if env_id in _BRAX_VELOCITIES_LAST:
        velocities = range(size - simulator.sys.qd_size(), size)
    return BraxState(simulator, f"brax/{env_id}", None if velocities is None else tuple(velocities))


def _import_brax() -> Any:
    with warnings.catch_warnings():  # jaxopt, on which Brax builds, says that nobody maintains it
        warnings.simplefilter("ignore")
        from brax import envs
    return envs


def load_playground(env_id: str, **config: Any) -> Any:
    """A task of the control suite of MuJoCo Playground or `PointMassHard`, as Playground has it.

    Args:
        env_id: As in `mujoco_playground.dm_control_suite`.
        **config: Entries of its configuration, e.g. `ctrl_dt=0.02`.

    Raises:
        UserError: An unknown entry, or times that are not whole steps of the physics.
    """
    with warnings.catch_warnings():  # Playground's training wrapper imports Brax and with it jaxopt
        warnings.simplefilter("ignore")
        from mujoco_playground import dm_control_suite as suite

        from rlformers.envs.adapters.point_mass_hard import PointMassHard
    hard = env_id == "PointMassHard"
    default = suite.get_default_config("PointMass" if hard else env_id)
    allowed = [name for name in default if name not in _NOT_OURS]
    for name in config:
        if name not in allowed:
            raise UserError(f"env_kwargs.{name}: env 'playground/{env_id}' has {', '.join(allowed)}")
    _check_times({name: default[name] for name in allowed} | config, given=config)
    overrides = {"impl": "jax", **config}
    return PointMassHard(default, overrides) if hard else suite.load(env_id, default, overrides)


def _check_times(config: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Playground rounds the number of physics steps per step, to 0 as well."""
    for name in ("sim_dt", "ctrl_dt"):
        value = config[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise UserError(f"env_kwargs.{name}: need a number above 0, got {value!r}")
    ratio = config["ctrl_dt"] / config["sim_dt"]
    if not math.isclose(ratio, max(1, round(ratio)), rel_tol=1e-6):
        name = "ctrl_dt" if "ctrl_dt" in given else "sim_dt"
        times = f"ctrl_dt={config['ctrl_dt']} and sim_dt={config['sim_dt']}"
        raise UserError(f"env_kwargs.{name}: need ctrl_dt that is a multiple of sim_dt, got {times}")


def make_playground(env_id: str, **config: Any) -> BraxState:
    """A task of the control suite of MuJoCo Playground, e.g. `make_playground("CartpoleSwingup")`.

    Args:
        env_id: As in `mujoco_playground.dm_control_suite`, or "PointMassHard".
        **config: See `load_playground`.

    Raises:
        UserError: See `load_playground`.
    """
    simulator = load_playground(env_id, **config)
    size, model = simulator.observation_size, simulator.mj_model
    if env_id.startswith("Humanoid"):  # the centre of mass has a velocity, too
        velocities = range(size - model.nv - 3, size)
    elif env_id == "SwimmerSwimmer6":  # after joint angles and target: velocities of its links, not of its joints
        velocities = range(model.nq - 1, size)
    else:
        end = size - _AFTER_VELOCITIES.get(env_id, 0)
        velocities = range(end - model.nv, end)
    return BraxState(simulator, f"playground/{env_id}", tuple(velocities))
