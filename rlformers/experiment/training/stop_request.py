"""Why a run ends before its last step: somebody asked it to stop, or its numbers were not finite."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from rlformers.errors import Complaint

# sysexits.h: "temporary failure; the user is invited to retry". Schedulers requeue on it.
EXIT_CODE = 75


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop. It has saved its state and can be resumed."""


class Failed(Complaint, ArithmeticError):
    """All seeds of a run have met numbers that are not finite.

    Args:
        what: "gradient of agent.critic.out.W is not finite", in the first of the seeds.
        update: Number of the update, the first being 1.
        step: Environment steps of each seed at the end of the update.
        seeds: The seeds that failed in this update; others may have failed before.
    """

    def __init__(self, what: str, update: int, step: int, seeds: Sequence[int]):
        others = f" (and of {', '.join(map(str, seeds[1:]))})" if len(seeds) > 1 else ""
        super().__init__(f"{what} in update {update:,}, up to step {step:,}, of seed {seeds[0]}{others}")
        self.details = {"what": what, "update": update, "step": step, "seeds": list(seeds)}

    def leaving(self, run_dir: Path, checkpoint: str | None, debug: bool) -> "Failed":
        """This error, with what is left of the run and what to do."""
        left = f"last good checkpoint {checkpoint}" if checkpoint else "there was no checkpoint yet"
        advice = "" if debug else f"; resume={run_dir} retry=failed debug=true finds the line"
        self.args = (f"{self}; {left}{advice}; if training diverged, try a new run with a lower ppo.lr",)
        return self


class SomeFailed(Failed):
    """Some seeds of a run have met numbers that are not finite; the others are trained to the end.

    Args:
        failed: `FailedSeeds.failed`.
        run_dir: The directory of the run.
        summary: The summary of the run.
    """

    def __init__(self, failed: Sequence[dict[str, Any]], run_dir: Path, summary: dict[str, Any]):
        first = failed[0]
        super().__init__(first["what"], first["update"], first["step"], [one["seed"] for one in failed])
        self.summary = summary
        some = f"{len(failed)} of {len(summary['seeds'])} seeds failed"
        what = f"{first['what']} in update {first['update']:,}, up to step {first['step']:,}, of seed {first['seed']}"
        more = f" (and seeds {', '.join(str(one['seed']) for one in failed[1:])}, see summary.json)" * (len(failed) > 1)
        again = f"resume={run_dir} retry=failed trains the failed seeds again"
        self.args = (f"{some}: {what}{more}; the others are finished; {again}",)


def _signals() -> list[int]:
    """The signals that ask for a stop, if this operating system has them and nobody else uses them."""
    others = [getattr(signal, name) for name in ("SIGHUP", "SIGUSR1") if hasattr(signal, name)]
    free = [number for number in others if signal.getsignal(number) is signal.SIG_DFL]
    return [signal.SIGINT, signal.SIGTERM, *free]


class StopRequest:
    """While it is entered, a signal that asks for a stop only sets `received`; a second one raises KeyboardInterrupt.

    The signals are SIGINT, SIGTERM, SIGHUP and SIGUSR1. The last two are left alone if somebody
    else handles them: `nohup` ignores SIGHUP, submitit uses SIGUSR1.

    A request that is entered inside another shares it: a sweep and its current run stop together.
    Python delivers signals to its main thread only, so in other threads nothing is caught.

    Args:
        announce: A file that a signal creates, to tell other processes, also on other machines.
        watch: The file of another `announce`. While it exists, a stop is requested.
        idle: There is nothing to save until another request is entered inside: a signal raises
            `Interrupted` at once.
    """

    _entered: ClassVar["StopRequest | None"] = None  # the innermost one of the main thread

    def __init__(self, announce: Path | None = None, watch: Path | None = None, idle: bool = False) -> None:
        self._signalled = self._asked = self._starting = False
        self._announce, self._watch, self._idle = announce, watch, idle
        self._looked = float("-inf")
        self._outer: StopRequest | None = None
        self._previous: dict[int, Any] = {}

    @property
    def received(self) -> bool:
        """Whether a stop is requested. Looks at the watched file at most once a second."""
        if self._signalled or (self._outer is not None and self._outer.received):
            return True
        if self._watch is not None and time.monotonic() - self._looked >= 1:
            self._looked = time.monotonic()
            self._asked = self._watch.exists()
        return self._asked

    @contextlib.contextmanager
    def nothing_to_save(self) -> Iterator[None]:
        """While it is entered, a signal prints that there is nothing to save yet."""
        self._starting = True
        try:
            yield
        finally:
            self._starting = False

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._outer, StopRequest._entered = StopRequest._entered, self
            if self._outer is None:
                self._previous = {number: signal.signal(number, self._handle) for number in _signals()}
            elif self._outer.received:  # earlier: other code swallowed the exception that the signal raised
                self._tell_others()
        return self

    def __exit__(self, *_: object) -> None:
        if StopRequest._entered is self:
            StopRequest._entered = self._outer
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal, in the outermost request."""
        del frame
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = True
        name = signal.Signals(number).name
        if self._idle and StopRequest._entered is self:
            raise Interrupted(f"{name}: stopped before anything ran; run the same command again")
        innermost = StopRequest._entered
        starting = innermost is not None and innermost._starting
        what = "stopping; there is nothing to save yet" if starting else "saving; send it again to stop at once"
        # Not print: the signal may have interrupted a print.
        os.write(2, f"\n{name}: {what}\n".encode())
        if StopRequest._entered is not None:
            StopRequest._entered._tell_others()

    def _tell_others(self) -> None:
        if self._announce is not None:
            self._announce.touch()
        if self._outer is not None:
            self._outer._tell_others()
