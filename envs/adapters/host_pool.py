"""The environments on the host that the copies in the program stand for. NumPy and Python, no JAX.

A copy's state in the program is a handle: the number of a slot here, and its clock, how many resets and steps the slot
had seen when the state was made. The program may ask for the same operation twice: a batch of loops goes on computing
loops that have ended, compilers may repeat what is declared pure. So every slot remembers what it answered since the
state before its last step and answers the same question alike. Any other question to a past state is an error, for the
host cannot go back: such states were copied or kept, and the copies have parted.
"""

import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rlformers.errors import UserError

NO_HANDLE = -1


# Observation, reward, terminated, truncated, and the numbers of `log_info`.
Outcome = tuple[Any, float, bool, bool, tuple[float, ...]]


class StaleState(RuntimeError):
    """A state was used that the environment on the host has left behind."""


class Answer(NamedTuple):
    """What an operation came to."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    handle: int
    clock: int
    logged: tuple[float, ...]  # the numbers of `log_info`


class Asked(NamedTuple):
    """An operation on a slot, and its answer."""

    clock: int  # before it
    question: tuple[str, bytes]
    answer: Answer


def number(value: Any, what: str) -> float:
    """A number in whatever form environments give it: of Python or NumPy, of any type, in an array of one entry.

    Raises:
        UserError: It is no number, or not one.
    """
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf":
        given = f"{array.dtype}{list(array.shape)}" if array.dtype.kind in "biuf" else repr(value)
        raise UserError(f"env: {what} is {given}, need a number")
    return float(array.reshape(())[()])


class Slot:
    """One environment on the host, and what it was asked since the state before its last step."""

    def __init__(self, env: Any, handle: int):
        self.env = env
        self.handle = handle
        self.clock = 0
        self.asked: list[Asked] = []
        self.logged: dict[str, float] = {}  # of this episode, so far
        self.pictures: dict[int, Any] | None = None  # of its states by their clocks, where they are kept

    @property
    def last(self) -> Answer:
        """The answer that made the present state."""
        return self.asked[-1].answer

    def ask(self, clock: int, question: tuple[str, bytes], operate: Callable[[], Outcome]) -> Any:
        """The remembered answer, or that of the operation.

        Raises:
            StaleState: It is another question, to a past state.
        """
        for asked in self.asked:
            if asked[:2] == (clock, question):
                return asked.answer
        if clock != self.clock:
            raise StaleState(
                f"a state after {clock} operations was used again, its environment has made {self.clock}: environments "
                "on the host go one way, their states can be neither copied nor kept"
            )
        observation, reward, terminated, truncated, logged = operate()
        if self.pictures is not None:
            self.pictures[clock + 1] = self.env.render()
        answer = Answer(observation, reward, terminated, truncated, self.handle, clock + 1, logged)
        if question[0] == "step":
            self.asked.clear()
        self.asked.append(Asked(clock, question, answer))
        self.clock += 1
        return answer


class Pool:
    """All slots of an environment.

    Args:
        make: Makes one environment of Gymnasium.
        most: Slots at most.
        log_info: Names of numbers in their info, of which the last of every episode is kept.
    """

    def __init__(self, make: Callable[[], Any], most: int, log_info: Sequence[str] = ()):
        self.make = make
        self.log_info = tuple(log_info)
        self.most = most
        # Handles of another process, which a checkpoint may bring along, should not be taken for ours.
        self.first_handle = secrets.randbelow(2**30)
        self.slots: list[Slot] = []
        self.keeps_pictures = False  # of every state that is made from now on
        self.lock = threading.RLock()

    def reset(self, handle: int, clock: int, seed: int) -> Answer:
        """Start the episode of a seed in a slot, in a new one if there is no handle.

        Raises:
            StaleState: See `Slot.ask`, or there are too many slots.
        """
        slot = self._new() if handle == NO_HANDLE else self._find(handle)

        def operate() -> Outcome:
            slot.logged.clear()
            return slot.env.reset(seed=seed)[0], 0.0, False, False, self._logged(slot, {}, over=False)

        return slot.ask(max(clock, 0), ("reset", seed.to_bytes(4, "big")), operate)

    def step(self, handle: int, clock: int, action: Any, question: bytes, over: bool) -> Answer:
        """Make a step, unless the episode is over: then it stays as it is, and pays nothing.

        Args:
            handle: The slot's.
            clock: The state's.
            action: As the environment takes it.
            question: The same action in bytes.
            over: The program has ended the episode.

        Raises:
            StaleState: See `Slot.ask`.
        """
        slot = self._find(handle)
        if clock == slot.clock and (over or slot.last.terminated or slot.last.truncated):
            return slot.last._replace(reward=0.0)

        def operate() -> Outcome:
            observation, reward, terminated, truncated, info = slot.env.step(action)
            ends = bool(number(terminated, "terminated")), bool(number(truncated, "truncated"))
            return observation, number(reward, "reward"), *ends, self._logged(slot, info, any(ends))

        return slot.ask(clock, ("step", question), operate)

    def _logged(self, slot: Slot, info: dict[str, Any], over: bool) -> tuple[float, ...]:
        """The numbers of `log_info`: the last that the episode has shown, and 0 before."""
        for name in self.log_info:
            if name in info:
                slot.logged[name] = number(info[name], f"info[{name!r}]")
            elif over and name not in slot.logged:
                has = ", ".join(sorted(map(str, info))) or "nothing"
                raise UserError(f"env_kwargs.log_info: info has no {name!r} at the end of an episode, but {has}")
        return tuple(slot.logged.get(name, 0.0) for name in self.log_info)

    def _find(self, handle: int) -> Slot:
        index = handle - self.first_handle
        if not 0 <= index < len(self.slots):
            raise StaleState(f"handle {handle} is none of this process: states of environments on the host die with it")
        return self.slots[index]

    def _new(self) -> Slot:
        if len(self.slots) >= self.most:
            raise StaleState(
                f"{self.most} copies on the host are as many as env_kwargs.max_copies allows; every call of reset that "
                "is no automatic one makes a copy, and close() forgets them all"
            )
        self.slots.append(Slot(self.make(), self.first_handle + len(self.slots)))
        if self.keeps_pictures:
            self.slots[-1].pictures = {}
        return self.slots[-1]

    def picture(self, handle: int, clock: int) -> Any:
        """What `render` of the environment returned in a state that was made while pictures were kept."""
        return (self._find(handle).pictures or {})[clock]

    def close(self) -> None:
        """Close all environments. States that are still around become invalid."""
        with self.lock:
            for slot in self.slots:
                slot.env.close()
            self.first_handle = (self.first_handle + len(self.slots)) % 2**30
            self.slots.clear()
