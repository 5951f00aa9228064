"""A world whose episodes end in all three ways, and which records what happens."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

ACTIONS = 3


class Log(NamedTuple):
    """The last T steps; leading axis T."""

    obs: Any
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    final_obs: Any


class State(NamedTuple):
    """Of one copy."""

    time: jax.Array  # in the episode
    length: jax.Array
    end: jax.Array  # 0 terminates, 1 truncates, 2 both at once
    cue: jax.Array  # shown first, decides what is paid until the end
    place: jax.Array
    steps: jax.Array  # in all episodes
    log: Log


class Probe:
    """Shows the cue, the time and a place that actions move; with `masked` one action is impossible every time."""

    def __init__(self, T: int, masked: bool):
        self.T, self.masked = T, masked

    def see(self, state: State) -> Any:
        cue = jnp.where(state.time == 0, state.cue, 0.0)
        vector = jnp.stack([cue, state.time / 4.0 - 0.6, state.place]).astype(jnp.float32)
        mask = jnp.arange(ACTIONS) != (state.time + (state.cue > 0)) % ACTIONS
        return {"obs": vector, "action_mask": mask} if self.masked else vector

    def begin(self, key: jax.Array, steps: jax.Array, log: Any) -> State:
        key_length, key_end, key_cue, key_place = jax.random.split(key, 4)
        return State(
            time=jnp.zeros((), jnp.int32),
            length=jax.random.randint(key_length, (), 3, 7, jnp.int32),
            end=jax.random.randint(key_end, (), 0, 3, jnp.int32),
            cue=jax.random.normal(key_cue, dtype=jnp.float32),
            place=jax.random.normal(key_place, dtype=jnp.float32),
            steps=steps,
            log=log,
        )

    def reset(self, key: jax.Array, params: None) -> tuple[Any, State]:
        state = self.begin(key, jnp.zeros((), jnp.int32), None)
        flag, number = jnp.zeros((), bool), jnp.zeros((), jnp.float32)
        step = Log(self.see(state), jnp.zeros((), jnp.int32), number, flag, flag, self.see(state))
        log = jax.tree.map(lambda x: jnp.zeros((self.T, *x.shape), x.dtype), step)
        return self.see(state), state._replace(log=log)

    def step(self, key: jax.Array, state: State, action: jax.Array, params: None) -> tuple:
        push = action.astype(jnp.float32) - 1
        reward = state.cue * push + 0.5 * jnp.cos(3 * state.place)
        after = state._replace(time=state.time + 1, place=0.6 * state.place + 0.4 * push, steps=state.steps + 1)
        over = after.time >= state.length
        terminated, truncated = over & (state.end != 1), over & (state.end != 0)
        step = Log(self.see(state), action, reward, terminated, truncated, self.see(after))
        log = jax.tree.map(lambda x, new: x.at[state.steps % self.T].set(new), state.log, step)
        after = after._replace(log=log)
        new = jax.tree.map(lambda x, y: jnp.where(over, x, y), self.begin(key, after.steps, log), after)
        return self.see(new), new, reward, terminated, truncated, {"final_observation": step.final_obs}
