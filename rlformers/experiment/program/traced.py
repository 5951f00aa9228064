"""Explains why an experiment cannot be traced: which point of its protocol an environment or a core breaks.

The search starts only after tracing has failed, so environments and cores that can be traced pay
nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from rlformers.config import ExperimentConfig
from rlformers.cores.registry import built_in, make_core
from rlformers.envs.checks import types
from rlformers.envs.checks.report import Broken, require
from rlformers.envs.wrappers.flatten import Flatten
from rlformers.errors import CodeError, Complaint, UserError, named_line


@contextmanager
def explained(config: ExperimentConfig, env: Any, params: Any) -> Iterator[None]:
    """If tracing inside fails, look for the reason in the environment and in the core.

    Args:
        config: The experiment.
        env: Its environment, as the learner gets it.
        params: Its params.

    Raises:
        UserError: The environment or the core breaks its protocol; one line with the point that
            does not hold.
        CodeError: One of them raises an error, which is the cause.
    """
    try:
        yield
    except Complaint:
        raise
    except Exception as error:
        _explain_by_environment(config, env, params)
        if config.core.name not in built_in():
            _explain_by_core(config, error)
        raise


def _explain_by_environment(config: ExperimentConfig, env: Any, params: Any) -> None:
    """Raise an error about what is wrong with the environment, starting below its wrappers; return if it is sound."""
    layers = [env.env]  # without our own episode statistics
    while hasattr(layers[-1], "env"):
        layers.append(layers[-1].env)
    for layer in reversed(layers):
        own = layer.default_params
        found = types.first_broken(layer, params if isinstance(params, type(own)) else own, config.model.encoder.ignore)
        if found:
            point, error = found
            _raise(f"env: {config.env!r}: {point}", error, f"see rlformers check {config.env}")
    try:
        trace_steps(env.env, params)
    except Exception as error:
        _raise(f"env: {config.env!r}: step", error, f"see rlformers check {config.env}")


def _explain_by_core(config: ExperimentConfig, error: Exception) -> None:
    """Raise an error about what is wrong with the core."""
    name, width = config.core.name, config.model.width

    def step(key: Any) -> Any:
        core = make_core(name, width, config.model.num_layers, key=key, **config.core.options)
        before = core.initial_state()
        return before, core.step(before, jnp.zeros(width), jnp.zeros((), bool))

    try:
        before, returned = jax.eval_shape(step, jax.random.key(0))
        require(isinstance(returned, tuple) and len(returned) == 2, "step must return a pair of state and output")
        after, output = returned
        require(types.name(output) == f"float32[{width}]", f"output is {types.name(output)}, need float32[{width}]")
        types.check_states(types.Types(None, before, None, after, None, None, None))
    except Exception as found:
        _raise(f"core: {name!r} cannot be stepped", found, "see docs/cores.md")
    raise CodeError(f"core: {name!r} cannot be trained: {named_line(error)}") from error


def _raise(what: str, error: Exception, where: str) -> None:
    if isinstance(error, Broken):
        raise UserError(f"{what}: {error}; {where}") from None
    if isinstance(error, Complaint):
        raise error
    raise CodeError(f"{what}: {named_line(error)}") from error


def trace_steps(env: Any, params: Any) -> None:
    """Trace a reset and a step with its automatic reset, as acting calls them.

    Raises:
        Broken: The step does not return six values.
    """
    key = jax.random.key(0)
    _, state = jax.eval_shape(env.reset, key, params)
    action = jax.eval_shape(env.action_space(params).sample, key)
    returned = jax.eval_shape(env.step, key, state, action, params)
    require(
        isinstance(returned, tuple) and len(returned) == 6,
        "must return observation, state, reward, terminated, truncated and a dict",
    )


def check_types(config: ExperimentConfig, env: Any, params: Any) -> None:
    """Check what tracing forgives: observations unlike their space, or of other types after a step; ends not bool.

    Raises:
        UserError: They do not; one line.
    """
    flat, _ = jax.eval_shape(env.reset, jax.random.key(0), params)
    shown = env.env.env if isinstance(env.env, Flatten) else env.env
    (observations, _), (ends, _) = types.POINTS[0], types.POINTS[2]
    point = observations
    try:
        types.fits_space(env, params, flat)
        traced = types.trace(shown, params)
        before, after = (jax.tree.map(types.name, obs) for obs in (traced.first_obs, traced.obs))
        require(before == after, f"observation is {before} at reset, {after} after a step")
        point = ends
        types.check_ends(traced)
    except Broken as error:
        raise UserError(f"env: {config.env!r}: {point}: {error}; see rlformers check {config.env}") from None
