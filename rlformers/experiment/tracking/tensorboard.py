"""TensorBoard: event files under `RUN_DIR/tensorboard/seed_<n>`, with environment steps as x axis.

`tensorboard --logdir runs` then shows a curve per run and seed. The writer is tensorboardX, which
needs neither TensorFlow nor torch.
"""

import importlib.util
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rlformers.errors import UserError, named_line
from rlformers.experiment.tracking.jsonl import Row


def require_tensorboard() -> None:
    """Check that the writer is installed.

    Raises:
        UserError: It is not; one line that says how to install it.
    """
    if importlib.util.find_spec("tensorboardX") is None:
        raise UserError("tensorboard: true needs another package: pip install 'rlformers[tensorboard]'")


class TensorboardSink:
    """One writer per seed. Rows appear at once. Rows that a resumed run makes again replace the old ones.

    Args:
        run_dir: The directory of the run.
        rows: The rows in `metrics.jsonl` so far. If the event files lack some of them, because the
            process died before they were on disk or because TensorBoard was off, everything is
            written anew.
        step: Environment steps after which the run continues; later events are declared void
            (`purge_step`).
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
        """Write a row, as one event."""
        self._try(lambda: self._write(row))

    def commit(self, step: int) -> None:
        """Do nothing: a resumed run declares void the events that it makes again."""

    def renew(self, seed: int) -> None:
        """Write all rows of a seed anew if some are missing."""
        self._try(lambda: self.writers.setdefault(seed, self._open(seed)))

    def finish(self, summary: dict[str, Any]) -> None:
        """Close the files."""
        self._try(lambda: [writer.close() for writer in self.writers.values()])

    def _try(self, action: Callable[[], Any]) -> None:
        if self.failed:
            return
        try:
            action()
        except Exception as error:  # of any kind: a view must not stop a training
            self.failed = True
            print(f"tensorboard: {named_line(error)}; continuing without it")

    def _write(self, row: Row) -> None:
        seed = int(row["seed"] or 0)
        if seed not in self.writers:
            self.writers[seed] = self._open(seed)
        _write(self.writers[seed], row)

    def _open(self, seed: int) -> Any:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder = self.folder / f"seed_{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        known, held = self.known.pop(seed, []), steps_of(folder)
        complete = all(row["step"] in held for row in known)
        begun = len(list(folder.glob("events.*")))
        writer = EventsWriter(str(folder / "events"), f".{begun}")  # without a thread: a process may die at any moment
        if begun:
            void = Event(step=self.step + 1 if complete else 0, session_log=SessionLog(status=SessionLog.START))
            writer.write_event(void)
        for row in [] if complete else known:
            _write(writer, row)
        return writer


def _write(writer: Any, row: Row) -> None:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    values = {key: value for key, value in row.items() if key not in ("seed", "step") and value is not None}
    summary = Summary(value=[Summary.Value(tag=key, simple_value=value) for key, value in values.items()])
    writer.write_event(Event(wall_time=time.time(), step=row["step"], summary=summary))
    writer.flush()


def steps_of(folder: Path) -> set[int]:
    """The steps of the scalars in the event files of a folder, without those that a later start declared void."""
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
