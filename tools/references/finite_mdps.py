"""Returns in finite Markov decision processes: of the optimum with a known process, chance, and posterior sampling."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Int32, PRNGKeyArray

from rlformers.envs.meta.tabular_mdp import FiniteMDP, Model, TabularMDP


def plan(model: Model, steps: int) -> tuple[Float32[Array, "H S"], Int32[Array, "H S"]]:
    """Values and best actions by value iteration, with H, H - 1, ..., 1 steps left."""

    def backup(value: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        actions = model.rewards + model.transitions @ (model.goes_on * value)
        return actions.max(1), (actions.max(1), actions.argmax(1).astype(jnp.int32))

    _, (values, actions) = jax.lax.scan(backup, jnp.zeros(model.goes_on.shape), length=steps, reverse=True)
    return values, actions


def known_process(env: FiniteMDP, key: PRNGKeyArray, num_tasks: int) -> Float32[Array, " N"]:
    """Expected return of the best policy in an episode of N processes that it knows."""

    def value(key: PRNGKeyArray) -> Array:
        model = env.model(env.sample_task(key, env.default_params))
        return plan(model, env.episode_length)[0][0] @ model.starts

    return jax.vmap(value)(jax.random.split(key, num_tasks))


def chance(env: FiniteMDP, key: PRNGKeyArray, num_tasks: int) -> Float32[Array, " N"]:
    """Expected return of random actions in an episode of N processes: there is one action, the mean of all."""

    def value(key: PRNGKeyArray) -> Array:
        model = env.model(env.sample_task(key, env.default_params))
        model = model._replace(
            transitions=model.transitions.mean(1, keepdims=True), rewards=model.rewards.mean(1, keepdims=True)
        )
        return plan(model, env.episode_length)[0][0] @ model.starts

    return jax.vmap(value)(jax.random.split(key, num_tasks))


class Prior(NamedTuple):
    """What posterior sampling believes at first."""

    next_state: float  # parameter of the Dirichlet distributions
    mean: float  # of rewards
    deviation: float  # of their means
    noise: float  # deviation of a reward from its mean
    on_arrival: bool  # rewards depend on the state arrived at, not on state and action


TABULAR = Prior(1.0, 1.0, 1.0, 1.0, False)  # how TabularMDP draws
ROUGH = Prior(0.1, 0.0, 1.0, 0.3, True)  # AnyMDP's prior has no such form


class Memory(NamedTuple):
    """What posterior sampling has seen."""

    moves: Float32[Array, "S A S"]  # how often
    sums: Float32[Array, "..."]  # of rewards, [S, A] or, on arrival, [S]
    goes_on: Float32[Array, " S"]  # 1 until an episode was seen to end there


def posterior_sampling(
    env: FiniteMDP, key: PRNGKeyArray, num_trials: int, episodes: int, prior: Prior | None = None
) -> Float32[Array, "N K"]:
    """Returns of K episodes in each of N trials of PSRL (Strens 2000; Osband et al. 2013).

    Before every episode it draws a process from the posterior, and then does what is best in that
    one.
    """
    prior = prior or (TABULAR if isinstance(env, TabularMDP) else ROUGH)
    size = (env.num_states, env.actions)

    def draw_model(key: PRNGKeyArray, memory: Memory, starts: Array) -> Model:
        key_moves, key_rewards = jax.random.split(key)
        moves = jax.random.gamma(key_moves, prior.next_state + memory.moves)
        transitions = moves / moves.sum(-1, keepdims=True)
        counts = memory.moves.sum((0, 1)) if prior.on_arrival else memory.moves.sum(-1)
        precision = prior.deviation**-2 + counts * prior.noise**-2
        mean = (prior.mean * prior.deviation**-2 + memory.sums * prior.noise**-2) / precision
        rewards = mean + jax.random.normal(key_rewards, mean.shape) / jnp.sqrt(precision)
        return Model(transitions, transitions @ rewards if prior.on_arrival else rewards, memory.goes_on, starts)

    def trial(key: PRNGKeyArray) -> Array:
        key_task, key_episodes = jax.random.split(key)
        task = env.sample_task(key_task, env.default_params)

        def episode(memory: Memory, key: PRNGKeyArray) -> tuple[Memory, Array]:
            key_model, key_reset, key_steps = jax.random.split(key, 3)
            actions = plan(draw_model(key_model, memory, jnp.zeros(env.num_states)), env.episode_length)[1]
            _, state = env.reset_env(key_reset, task)

            def step(carry: tuple, inputs: tuple) -> tuple[tuple, Array]:
                state, memory, over = carry
                action = inputs[0][state.place]
                _, after, reward, ends, _ = env.step_env(inputs[1], state, action, task)
                counts = 1.0 - over
                where = (after.place,) if prior.on_arrival else (state.place, action)
                memory = Memory(
                    memory.moves.at[state.place, action, after.place].add(counts),
                    memory.sums.at[where].add(counts * reward),
                    memory.goes_on.at[after.place].multiply(1.0 - counts * ends),
                )
                return (after, memory, over | ends), counts * reward

            keys = jax.random.split(key_steps, env.episode_length)
            (_, memory, _), rewards = jax.lax.scan(step, (state, memory, jnp.zeros((), bool)), (actions, keys))
            return memory, rewards.sum()

        sums = jnp.zeros(env.num_states) if prior.on_arrival else jnp.zeros(size)
        memory = Memory(jnp.zeros((*size, env.num_states)), sums, jnp.ones(env.num_states))
        return jax.lax.scan(episode, memory, jax.random.split(key_episodes, episodes))[1]

    return jax.lax.map(trial, jax.random.split(key, num_trials), batch_size=min(num_trials, 250))
