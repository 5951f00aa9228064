"""TensorBoard: event files under `RUN_DIR/tensorboard/seed_<n>`, environment steps as x axis.

`tensorboard --logdir runs` then shows a curve per run and seed. The writer is tensorboardX, which needs neither
TensorFlow nor torch.
"""

import importlib.util
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rlformers.experiment.sinks.jsonl import Row, first_line

_FLUSH_SECONDS = 10


def require_tensorboard() -> None:
    """Check that the writer is installed.

    Raises:
        ValueError: It is not; one line that says how to install it.
    """
    if importlib.util.find_spec("tensorboardX") is None:
        raise ValueError("tensorboard: true needs another package: pip install 'rlformers[tensorboard]'")


class TensorboardSink:
    """One writer per seed. Rows appear within seconds; those that a resumed run makes again replace what was there.

    Args:
        run_dir: The run's directory.
        rows: What `metrics.jsonl` holds so far. Should the event files lack some of it, because the process died before
            it was on disk, or because TensorBoard was off, everything is written anew.
        step: Environment steps after which the run goes on; events beyond are declared void (`purge_step`).
    """

    def __init__(self, run_dir: Path, rows: list[Row], step: int):
        self.folder = run_dir / "tensorboard"
        self.writers: dict[int, Any] = {}
        self.step = step
        self.failed = False
        self.known: dict[int, list[Row]] = {}
        for row in rows:
            self.known.setdefault(int(row["seed"] or 0), []).append(row)

    def log(self, row: Row) -> None:
        """Write a row."""
        self._try(lambda: self._write(row))

    def commit(self, step: int) -> None:
        """Flush, so that a process that dies leaves nothing to write anew."""
        self._try(lambda: [writer.flush() for writer in self.writers.values()])

    def finish(self, summary: dict[str, Any]) -> None:
        """Close the files."""
        self._try(lambda: [writer.close() for writer in self.writers.values()])

    def _try(self, action: Callable[[], Any]) -> None:
        if self.failed:
            return
        try:
            action()
        except Exception as error:  # of whatever kind: a view must not stop a training
            self.failed = True
            print(f"tensorboard: {type(error).__name__}: {first_line(error)}; going on without it")

    def _write(self, row: Row) -> None:
        seed = int(row["seed"] or 0)
        if seed not in self.writers:
            self.writers[seed] = self._open(seed)
        _write(self.writers[seed], row)

    def _open(self, seed: int) -> Any:
        from tensorboardX import SummaryWriter

        folder = self.folder / f"seed_{seed}"
        begun = any(folder.glob("events.*"))
        known = self.known.pop(seed, [])
        held = steps_of(folder)
        complete = all(row["step"] in held for row in known)
        purge_step = (self.step + 1 if complete else 0) if begun else None
        writer = SummaryWriter(str(folder), purge_step=purge_step, flush_secs=_FLUSH_SECONDS)
        for row in [] if complete else known:
            _write(writer, row)
        return writer


def _write(writer: Any, row: Row) -> None:
    for key, value in row.items():
        if key not in ("seed", "step") and value is not None:
            writer.add_scalar(key, value, row["step"])


def steps_of(folder: Path) -> set[int]:
    """The steps at which the event files in a folder hold scalars that no later start has declared void."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    steps: set[int] = set()
    for file in sorted(folder.glob("events.*")):
        for record in _records(file.read_bytes()):
            event = Event.FromString(record)
            if event.HasField("summary"):
                steps.add(event.step)
            elif event.HasField("session_log") and event.session_log.status == SessionLog.START:
                steps = {step for step in steps if step < event.step}
    return steps


def _records(data: bytes) -> Iterator[bytes]:
    """The whole records of a TFRecord file: length, its checksum, content, its checksum."""
    at = 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        if at + 16 + length > len(data):  # the process died while it wrote
            return
        yield data[at + 12 : at + 12 + length]
        at += 16 + length
