"""Builds the objects that a configuration names."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jaxtyping import PRNGKeyArray

from rlformers.agents.agent import Agent
from rlformers.agents.policies import make_policy
from rlformers.agents.ppo import Divide, Learner, ppo
from rlformers.agents.symbols import joined
from rlformers.config import ExperimentConfig
from rlformers.config.ppo import Numbers
from rlformers.cores.products import precision
from rlformers.cores.registry import make_core
from rlformers.envs.lazy_resets import resets_everywhere
from rlformers.envs.registry import make_env, replace_params
from rlformers.envs.spaces import bounds as space_bounds
from rlformers.envs.spaces import symbol_sizes
from rlformers.envs.wrappers import EpisodeStatistics
from rlformers.errors import UserError
from rlformers.experiment.checkpoints.named_arrays import describe, mismatch
from rlformers.experiment.checkpoints.other_run import check_source, has_begun
from rlformers.experiment.program.traced import check_types, explained, trace_steps
from rlformers.experiment.tracking.tensorboard import require_tensorboard


class Built(NamedTuple):
    """An experiment, ready to run."""

    env: Any
    env_params: Any
    make_agent: Callable[[PRNGKeyArray], Agent]
    learner: Learner
    # Makes the learner with other numbers, which may be traced, and with further keywords of `ppo`.
    learner_with: Callable[..., Learner]


def make_environment(config: ExperimentConfig) -> tuple[Any, Any]:
    """The environment of an experiment, and its params.

    Raises:
        UserError: A key names something that does not exist or does not fit; one line that says
            what would fit.
    """
    for name in ("env_id", "raw", "wrap", "trial", "ignore", "one_hot"):  # arguments of `make_env`, not the user's
        if name in config.env_kwargs:
            raise UserError(f"env_kwargs.{name}: env {config.env!r} has no such argument")
    wrap, trial, ignore = asdict(config.wrap), asdict(config.trial), config.model.encoder.ignore
    env, params = make_env(config.env, wrap=wrap, trial=trial, ignore=ignore, one_hot=False, **config.env_kwargs)
    params = replace_params(params, env, **config.env_params)
    return EpisodeStatistics(env), params


def build(config: ExperimentConfig, made: tuple[Any, Any] | None = None) -> Built:
    """Make environment, agent and learner.

    Args:
        config: The experiment.
        made: The environment and its params, if they exist already.

    Raises:
        UserError: A key names something that does not exist or does not fit; one line that says
            what would fit.
    """
    env, params = made or make_environment(config)
    policy = make_policy(env.action_space(params), config.model.policy)
    obs, _ = jax.eval_shape(env.reset, jax.random.key(0), params)
    # Vectors that the learner normalises have left their bounds when the encoder sees them.
    space = env.observation_space(params)
    bounds = space_bounds(space, vectors=not config.ppo.normalize_observations)
    symbols = symbol_sizes(space)

    def core(key: PRNGKeyArray) -> Any:
        name, width, num_layers = config.core.name, config.model.width, config.model.num_layers
        return make_core(name, width, num_layers, key=key, **config.core.options)

    def make_agent(key: PRNGKeyArray) -> Agent:
        return Agent(obs, policy, core, config.model.width, key=key, model=config.model, bounds=bounds, symbols=symbols)

    def learner_with(numbers: Numbers, divide: Divide | None = None, vmapped: bool = False) -> Learner:
        learner = ppo(config.ppo, env, params, make_agent, config.num_updates, divide, numbers=numbers, vmapped=vmapped)
        # Over several devices, gathering the copies that need a reset would move all of them.
        update = learner.update if divide is None else resets_everywhere()(learner.update)
        return Learner(in_precision(config, learner.init), in_precision(config, update))

    return Built(env, params, make_agent, learner_with(Numbers.of(config.ppo, config.num_updates)), learner_with)


def in_precision(config: ExperimentConfig, function: Callable) -> Callable:
    """A function that is traced in the precision of an experiment.

    float32 means float32: by default, accelerators would multiply in TF32 or bfloat16.
    """

    def wrapped(*args: Any) -> Any:
        with precision(config.model.compute_dtype):
            return function(*args)

    return wrapped


def check(config: ExperimentConfig, run_dir: Path | None = None) -> None:
    """Build everything and trace an update abstractly, so that errors appear before anything compiles.

    Args:
        config: Of the experiment.
        run_dir: Where it is, or is to be; default: as the configuration says. A run that has begun takes nothing from
            that of `init_from` any more.

    Raises:
        UserError: As in `build`; nothing can be learned with these settings; or an environment or a
            core breaks its protocol: the line names the point that does not hold.
        CodeError: Code of a user raises an error while it is traced, which is the cause.
    """
    if config.tensorboard:
        require_tensorboard()
    check_learnable(config)
    made = make_environment(config)
    with explained(config, *made):
        built = build(config, made)
        state = jax.eval_shape(built.learner.init, jax.random.key(0))
        jax.eval_shape(built.learner.update, state)
    place = run_dir or (Path(config.run_dir) if config.run_dir else None)
    if config.init_from is not None and not (place and has_begun(place)):
        check_source(config, state)
    check_types(config, *made)
    if config.eval.every:
        try:
            made = make_environment(config.evaluated)
            with explained(config.evaluated, *made):
                evaluated = build(config.evaluated, made)
                trace_steps(*made)
            check_spaces(config.env, built, evaluated)
        except UserError as error:
            raise UserError(f"eval: {error}") from error


def check_learnable(config: ExperimentConfig) -> None:
    """Refuse settings with which nothing can be learned.

    Raises:
        UserError: Each minibatch has one step. Its normalised advantage is always 0, and so is the
            policy's loss.
    """
    ppo, length = config.ppo, config.ppo.sequence_length
    sequences = ppo.num_envs * (ppo.num_steps // length) // ppo.num_minibatches
    # No steps before the rollout can warm up the memory for its first steps, so these are not
    # trained on.
    steps = sequences * (length - ppo.burn_in if length == ppo.num_steps else length)
    if ppo.normalize_advantages and steps == 1:
        raise UserError(
            "ppo.num_minibatches: each minibatch has one step, whose advantage minus the mean is 0: nothing would be "
            f"learned; need less than {ppo.num_minibatches}, or ppo.normalize_advantages=false"
            if ppo.num_minibatches > 1
            else "ppo.num_envs: a minibatch has one step, whose advantage minus the mean is 0: nothing would be "
            "learned; need a larger ppo.num_envs or ppo.num_steps, or ppo.normalize_advantages=false"
        )


def check_spaces(env: str, trained: Built, built: Built) -> None:
    """Check that agents can act in an environment that they were not trained on.

    Args:
        env: The id of the environment to act in.
        trained: The experiment they were trained with.
        built: The experiment with the environment to act in.

    Raises:
        UserError: The environment has other observations or actions.
    """

    def spaces(which: Built) -> tuple[Any, Any]:
        obs, _ = jax.eval_shape(which.env.reset, jax.random.key(0), which.env_params)
        agent = jax.eval_shape(which.make_agent, jax.random.key(0))
        policy = agent.policy
        # Arrays of symbols do not show how many values a symbol has.
        obs = jax.eval_shape(lambda obs: joined(agent.as_numbers(obs)), obs)
        # Without the bounds of a box: an agent may be evaluated with stronger motors.
        return obs, (type(policy).__name__, *(getattr(policy, name, None) for name in ("sizes", "shape", "dtype")))

    (obs, actions), (new_obs, new_actions) = spaces(trained), spaces(built)
    complaint = mismatch(obs, describe(new_obs))
    if complaint:
        raise UserError(f"env: {env} has other observations than the agent was trained on: {complaint}")
    if actions != new_actions:
        raise UserError(f"env: {env} has other actions than the agent was trained on: {new_actions}, not {actions}")
