"""The environments on the host that the copies in the program stand for. NumPy and Python, no JAX.

A copy's state in the program is a handle: the number of a slot here, and its clock, how many resets and steps the slot
had seen when the state was made. The program may ask for the same operation twice: a batch of loops goes on computing
loops that have ended, compilers may repeat what is declared pure. So every slot remembers what it answered since the
state before its last step (before its last k steps, if the program makes k of them at once) and answers the same
question alike. Any other question to a past state is an error, for the host cannot go back: such states were copied or
kept, and the copies have parted.
"""

import copy
import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from rlformers.envs import spaces
from rlformers.envs.adapters.host.records import Record
from rlformers.envs.adapters.host.spaces import decode, encode
from rlformers.errors import UserError

NO_HANDLE = -1
NOTHING, RESET, STEP = range(3)  # operations

QUESTION = {
    "operation": (np.uint8, ()),
    "over": (np.bool_, ()),  # the program has ended the episode before this step
    "last": (np.bool_, ()),  # the program ends the episode after this step
    "goes_on": (np.bool_, ()),  # if this step ends the episode, the next one begins at once
    "handle": (np.int32, ()),
    "clock": (np.int32, ()),
    "seed": (np.uint32, ()),  # of the reset
}
ANSWER = {
    "handle": (np.int32, ()),
    "clock": (np.int32, ()),
    "reward": (np.float32, ()),
    "terminated": (np.bool_, ()),
    "truncated": (np.bool_, ()),
    "begun": (np.bool_, ()),  # the next episode, whose state has a clock that is later by one
}


_COMMON = (float, bool, np.bool_)  # a union would take three times as long to look up


class StaleState(RuntimeError):
    """A state was used that the environment on the host has left behind."""


def number(value: Any, what: str) -> float:
    """A number in whatever form environments give it: of Python or NumPy, of any type, in an array of one entry.

    Raises:
        UserError: It is no number, or not one.
    """
    if isinstance(value, _COMMON):  # what most give; NumPy's float64 is a float
        return float(value)
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf":
        given = f"{array.dtype}{list(array.shape)}" if array.dtype.kind in "biuf" else repr(value)
        raise UserError(f"env: {what} is {given}, need a number")
    return float(array.reshape(())[()])


class Slot:
    """One environment on the host, and what it was asked since the state before its last steps.

    Args:
        env: The environment.
        handle: Its handle.
        remembered: Steps whose answers are kept.
    """

    def __init__(self, env: Any, handle: int, remembered: int):
        self.env = env
        self.handle = handle
        self.clock = 0
        # Answers, and which of them, by question: of every remembered step, and of the resets after it.
        self.asked: deque[dict[bytes, tuple[np.ndarray, int]]] = deque([{}], maxlen=remembered)
        self.last: Any = None  # of these, the one that was asked for last
        self.shown = 0  # the clock of its state; that of the slot may be later, of an episode that has begun
        self.over = False  # whether the environment ended the episode with it
        self.logged: dict[str, float] = {}  # of this episode, so far
        self.pictures: dict[int, Any] | None = None  # of its states by their clocks, where they are kept

    def answered(self, question: bytes) -> tuple[np.ndarray, int] | None:
        """What was answered to a question, if that is remembered."""
        for asked in self.asked:
            if known := asked.get(question):
                return known
        return None

    def forget(self) -> None:
        """Remember no answer."""
        self.asked.clear()
        self.asked.append({})

    def draw(self) -> None:
        """Keep a picture of the present state, where they are kept."""
        if self.pictures is not None:
            self.pictures[self.clock] = self.env.render()


class Slots:
    """All slots of an environment.

    Args:
        make: Makes one environment of Gymnasium.
        theirs: Its observation space and its action space.
        ours: The same as spaces of ours.
        most: Slots at most.
        log_info: Names of numbers in their info, of which the last of every episode is kept.
        failed: Makes the error to raise of what an environment has raised and what it was to do.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        theirs: tuple[gymnasium.Space, gymnasium.Space],
        ours: tuple[spaces.Space, spaces.Space],
        most: int,
        log_info: Sequence[str],
        failed: Callable[[Exception, str], Exception],
    ):
        self.make = make
        self.observation_space, self.action_space = theirs
        self.parts = [(path, tuple(leaf.shape)) for path, leaf, _ in spaces.named_leaves(ours[0])]
        self.most = most
        self.steps_at_once = 1  # which the program makes in one of its own
        self.log_info = tuple(log_info)
        self.failed = failed
        observed, acted = ([(leaf.dtype, leaf.shape) for leaf, _ in spaces.leaves(space)] for space in ours)
        self.actions = {f"action{i}": field for i, field in enumerate(acted)}
        self.question = Record(QUESTION | self.actions)
        logged = {"logged": (np.float32, (len(self.log_info),))}
        both = [f"{name}{i}" for name in ("observation", "first") for i in range(len(observed))]
        self.answer = Record(ANSWER | logged | dict(zip(both, observed * 2, strict=True)))
        # Handles of another process, which a checkpoint may bring along, should not be taken for ours.
        self.first_handle = secrets.randbelow(2**30)
        self.slots: list[Slot] = []
        self.keeps_pictures = False  # of every state that is made from now on
        self.doing = "reset"
        self.lock = threading.RLock()

    def __call__(self, questions: Any) -> np.ndarray:
        """Answer questions of copies, rows of bytes [..., Q], one copy after the other; rows of bytes [..., A].

        Raises:
            StaleState: A question to a past state, or there are too many slots.
            Exception: What `failed` makes of what an environment has raised.
        """
        rows = np.ascontiguousarray(questions).reshape(-1, self.question.size)
        answers = np.zeros(len(rows), self.answer.dtype)
        with self.lock:
            complete = False
            try:
                self._answer(rows, answers)
                complete = True
            except StaleState:  # is about how the program uses its states
                raise
            except Exception as error:
                raise self.failed(error, self.doing) from None
            finally:
                if not complete:
                    self._forget(answers)
        return answers.view(np.uint8).reshape(*np.shape(questions)[:-1], self.answer.size)

    def _answer(self, rows: np.ndarray, answers: np.ndarray) -> None:
        """Fill in the answers [B] to questions, rows of bytes [B, Q]."""
        questions, raw, size = rows.view(self.question.dtype)[:, 0], rows.tobytes(), self.question.size
        actions = decode(self.action_space, [questions[name] for name in self.actions], len(rows))
        heads = zip(*(questions[name].tolist() for name in QUESTION), strict=True)
        made: list[tuple] = []  # which copy, and what `ANSWER` lists
        shown: list[tuple[int, Any]] = []  # which copy, and its observation
        firsts: list[tuple[int, Any]] = []  # the same of the next episodes
        again = []  # which copies are answered as before: what, and whether it was another question
        for row, (operation, over, last, goes_on, handle, clock, seed) in enumerate(heads):
            if operation == NOTHING:
                continue
            slot = self._new() if handle == NO_HANDLE else self._find(handle)
            question = raw[row * size : (row + 1) * size]
            known = slot.answered(question)
            if known is not None:
                again.append((row, known, False))
            elif operation == STEP and clock == slot.shown and (over or slot.over):
                again.append((row, slot.last, True))
            elif clock != slot.clock and not (operation == RESET and clock == slot.shown):
                raise StaleState(
                    f"a state after {clock} operations was used again, its environment has made {slot.clock}: "
                    "environments on the host go one way, their states can be neither copied nor kept"
                )
            else:
                if operation == RESET:
                    observation, reward, terminated, truncated = self._reset(slot, seed), 0.0, False, False
                else:
                    observation, reward, terminated, truncated = self._step(slot, actions[row], answers, row)
                slot.clock = slot.shown = slot.clock + 1
                slot.draw()
                slot.asked[-1][question] = slot.last = (answers, row)
                slot.over = terminated or truncated
                begun = goes_on and (slot.over or last)
                made.append((row, slot.handle, slot.clock, reward, terminated, truncated, begun))
                if begun:
                    observation = copy.deepcopy(observation)  # environments may show one array again and again
                    firsts.append((row, self._reset(slot, seed)))
                    slot.clock += 1
                    slot.draw()
                shown.append((row, observation))
        if made:
            which, *columns = zip(*made, strict=True)
            these = slice(None) if len(made) == len(answers) else list(which)
            for name, column in zip(ANSWER, columns, strict=True):
                answers[name][these] = column
            self._show(answers, "observation", shown)
            self._show(answers, "first", firsts)
        for row, (before, index), stays in again:
            answers[row] = before[index]
            if stays:
                answers["reward"][row] = 0.0

    def _step(self, slot: Slot, action: Any, answers: np.ndarray, row: int) -> tuple[Any, float, bool, bool]:
        self.doing = "step"
        slot.asked.append({})
        observation, reward, terminated, truncated, info = slot.env.step(action)
        ends = bool(number(terminated, "terminated")), bool(number(truncated, "truncated"))
        if self.log_info:
            answers["logged"][row] = self._logged(slot, info, any(ends))
        return observation, number(reward, "reward"), *ends

    def _reset(self, slot: Slot, seed: int) -> Any:
        self.doing = "reset"
        slot.logged.clear()
        return slot.env.reset(seed=seed)[0]

    def _show(self, answers: np.ndarray, name: str, shown: Sequence[tuple[int, Any]]) -> None:
        """Write down the observations of some copies."""
        if not shown:
            return
        which, observations = zip(*shown, strict=True)
        rows = slice(None) if len(which) == len(answers) else list(which)
        parts = encode(self.observation_space, observations)
        for i, (part, (path, shape)) in enumerate(zip(parts, self.parts, strict=True)):
            if part.shape[1:] != shape:
                place = "".join(f"[{key!r}]" for key in path)
                given = next(list(np.shape(value)) for value in part if np.shape(value) != shape)
                raise UserError(f"env: observation{place} has the shape {given}, its space {list(shape)}")
            answers[f"{name}{i}"][rows] = part

    def _logged(self, slot: Slot, info: dict[str, Any], over: bool) -> tuple[float, ...]:
        """The numbers of `log_info`: the last that the episode has shown, and 0 before."""
        for name in self.log_info:
            if name in info:
                slot.logged[name] = number(info[name], f"info[{name!r}]")
            elif over and name not in slot.logged:
                has = ", ".join(sorted(map(str, info))) or "nothing"
                raise UserError(f"env_kwargs.log_info: info has no {name!r} at the end of an episode, but {has}")
        return tuple(slot.logged.get(name, 0.0) for name in self.log_info)

    def _forget(self, answers: np.ndarray) -> None:
        """Let no state stand for the slots that have moved on for answers that nobody gets."""
        for slot in self.slots:
            if slot.last is not None and slot.last[0] is answers:
                slot.forget()
                slot.clock += 1
                slot.shown = slot.clock

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
        self.slots.append(Slot(self.make(), self.first_handle + len(self.slots), self.steps_at_once))
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
