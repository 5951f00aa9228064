"""Mortar Mayhem on a grid: remember a list of commands, and carry them out one by one (Pleines et al. 2023)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from rlformers.envs.environment import NoParams, PlainEnvironment, need_at_least
from rlformers.envs.memory.turtle import NORTH, STAY, Pose, move
from rlformers.envs.spaces import Discrete, MultiDiscrete

# Commands 1 .. 5: right, down, left, up, stay; changes of (x, y). 0 shows nothing.
COMMANDS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1), (0, 0)], np.int32)
NUM_ACTIONS = 4


class State(NamedTuple):
    """State of an episode."""

    pose: Pose
    commands: Int32[Array, " N"]  # 0 .. 4
    targets: Int32[Array, "N 2"]  # where each ends
    time: Int32[Array, ""]  # steps made


class MortarMayhem(PlainEnvironment):
    """N commands are shown one after the other, while the agent cannot move. Then it has to carry each out in time.

    Actions: 0 stay, 1 turn left, 2 turn right, 3 forward. Each command (right, down, left, up,
    stay) leads from one cell to the next, never into a wall. It is shown for `show_duration` steps,
    followed by `show_delay` steps that show nothing. Then the agent has `explosion_delay` + 1 moves
    to reach the cell of the first command. All other cells explode for `explosion_duration` steps,
    and standing in one of them ends the episode. After that the next command is due: the agent can
    move for `explosion_delay` steps after the last explosion, and in the step in which it stops.
    Every command that is carried out pays 1/N. The episode terminates after the last one.

    Observes MultiDiscrete(size, size, 4, 6, 2): x, y, the direction (north, west, south, east), the
    command shown (0: none), and whether cells explode. These are the rules and numbers of Memory
    Gym's MortarMayhem-Grid-v0, which shows pictures; its reward of 0.1 is 1/N.

    Args:
        num_commands: N.
        size: Cells along a side.
        show_duration: Steps for which a command is shown.
        show_delay: Steps between commands shown.
        explosion_delay: Steps to carry a command out.
        explosion_duration: Steps for which cells explode.

    Raises:
        UserError: A size below 2, a delay between shows below 0, or another number below 1.
    """

    never_truncates = True

    def __init__(
        self,
        num_commands: int = 10,
        size: int = 5,
        show_duration: int = 3,
        show_delay: int = 1,
        explosion_delay: int = 6,
        explosion_duration: int = 2,
    ):
        for name, value, least in (
            ("num_commands", num_commands, 1),
            ("size", size, 2),
            ("show_duration", show_duration, 1),
            ("show_delay", show_delay, 0),
            ("explosion_delay", explosion_delay, 1),
            ("explosion_duration", explosion_duration, 1),
        ):
            need_at_least(f"env_kwargs.{name}", value, least)
        self.num_commands = num_commands
        self.size = size
        self.show_duration = show_duration
        self.show_period = show_duration + show_delay
        self.explosion_delay = explosion_delay
        self.explosion_duration = explosion_duration
        # Steps in which commands are shown and nobody can move; the first is shown by the reset.
        self.shown = num_commands * self.show_period - 1

    def reset_env(self, key: PRNGKeyArray, params: NoParams) -> tuple[Int32[Array, "5"], State]:
        """Draw the start and the commands, and show the first one."""
        key_place, key_commands = jax.random.split(key)
        start = jax.random.randint(key_place, (2,), 0, self.size)
        chances = jax.random.uniform(key_commands, (self.num_commands,))

        def command(place: Array, chance: Array) -> tuple[Array, tuple[Array, Array]]:
            ends = place + COMMANDS
            valid = ((ends >= 0) & (ends < self.size)).all(1)
            number = jnp.searchsorted(jnp.cumsum(valid), jnp.floor(chance * valid.sum()), side="right").astype(
                jnp.int32
            )
            return ends[number], (number, ends[number])

        _, (commands, targets) = jax.lax.scan(command, start, chances, unroll=min(self.num_commands, 16))
        zero = jnp.zeros((), jnp.int32)
        state = State(Pose(start, zero + NORTH), commands, targets, zero)
        return self._see(state, jnp.zeros((), jnp.bool_)), state

    def step_env(
        self, key: PRNGKeyArray, state: State, action: Any, params: NoParams
    ) -> tuple[Int32[Array, "5"], State, Float32[Array, ""], Bool[Array, ""], dict]:
        """Watch, or move and see what explodes."""
        time = state.time + 1
        acts = time - self.shown  # moves made, 1 for the first
        pose = move(state.pose, jnp.where(acts >= 1, action, STAY), self.size)

        period = self.explosion_delay + self.explosion_duration
        since_first = acts - (self.explosion_delay + 1)  # 0 when the first explosion begins
        due = jnp.clip(since_first // period, 0, self.num_commands - 1)
        begins = (since_first >= 0) & (since_first % period == 0)
        explodes = (since_first >= 0) & (since_first % period < self.explosion_duration)
        right = (pose.position == state.targets[due]).all()
        reward = jnp.where(begins & right, 1 / self.num_commands, 0.0).astype(jnp.float32)
        terminated = (explodes & ~right) | (begins & (since_first // period >= self.num_commands - 1))
        state = State(pose, state.commands, state.targets, time)
        return self._see(state, explodes), state, reward, terminated, {}

    def _see(self, state: State, explodes: Bool[Array, ""]) -> Int32[Array, "5"]:
        number, since = state.time // self.show_period, state.time % self.show_period
        shows = (state.time <= self.shown) & (since < self.show_duration)
        command = jnp.where(shows, 1 + state.commands[jnp.minimum(number, self.num_commands - 1)], 0)
        rest = jnp.stack([state.pose.facing, command, explodes.astype(jnp.int32)])
        return jnp.concatenate([state.pose.position, rest]).astype(jnp.int32)

    def action_space(self, params: NoParams | None = None) -> Discrete:
        """Stay, turn left, turn right, forward."""
        return Discrete(NUM_ACTIONS)

    def observation_space(self, params: NoParams) -> MultiDiscrete:
        """Place, way to face, command, explosion."""
        return MultiDiscrete((self.size, self.size, 4, 1 + len(COMMANDS), 2))
