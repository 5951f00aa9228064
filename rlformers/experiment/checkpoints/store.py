"""Checkpoints: orbax stores the arrays; the store around it adds what makes them trustworthy.

    RUN_DIR/checkpoints/<update>/
        state/       every leaf of the TrainState under its name, by orbax
        meta.json    schema, shapes and dtypes of the leaves, and what the outer loop needs to go on
        SHA256SUMS   of every other file; `sha256sum -c SHA256SUMS` reads it

A checkpoint is written beside its place and renamed into it, and renamed away before it is deleted, so that a process
that dies at any moment leaves whole checkpoints only. Orbax alone restores one flipped bit in six without a word;
here every file is compared with its hash first. Nothing is pickled.
"""

import contextlib
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax

from rlformers.errors import FileError, UserError
from rlformers.experiment.checkpoints.named_arrays import Named, describe, from_named, mismatch, named_structs, to_named
from rlformers.experiment.checkpoints.orbax_errors import reason, silence
from rlformers.experiment.run_files.file_lock import fsync_path

SCHEMA = 1  # of the names of leaves and of meta.json; raise it when older checkpoints cannot be read any more
_SUMS = "SHA256SUMS"


class CheckpointError(FileError):
    """A checkpoint cannot be written or read; one line that names the file."""


class Checkpoint(NamedTuple):
    """A checkpoint whose files are what was written."""

    path: Path
    update: int
    meta: dict[str, Any]


class CheckpointStore:
    """Writes the checkpoints of one run, in a thread of its own, and deletes those that are no longer wanted.

    Args:
        directory: `RUN_DIR/checkpoints`; made if missing. One process at a time may write there.
        keep: How many of the newest to keep. The best one and the pinned ones are kept as well.
        resumed: The checkpoint that the run goes on from; newer ones give way to what it writes.
        report: Gets a line when a save fails.
    """

    def __init__(
        self,
        directory: Path,
        keep: int,
        resumed: Checkpoint | None = None,
        report: Callable[[str], None] = print,
    ):
        self.directory = directory
        self.keep = keep
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._thread.submit(_checkpointer)  # the import takes a second; meanwhile the caller compiles
        self._report = report
        self._pending: Future | None = None
        self._error: CheckpointError | None = None
        self._kept: dict[int, dict[str, Any]] = {}
        self.newest = resumed.update if resumed else 0  # the update of the newest checkpoint that is on disk
        for update in saved_updates(directory):
            if resumed is not None and update <= resumed.update:
                with contextlib.suppress(OSError, ValueError):  # damaged, and deleted after the next save
                    self._kept[update] = json.loads((directory / str(update) / "meta.json").read_text())
        best = best_of(self._kept)
        self.best_score: float | None = None if best is None else self._kept[best]["score"]

    @property
    def busy(self) -> bool:
        """Whether a save is under way."""
        return self._pending is not None and not self._pending.done()

    @property
    def failure(self) -> str | None:
        """Why the last save failed, if it did."""
        return None if self._error is None else str(self._error)

    def save(
        self, update: int, state: Any, meta: dict[str, Any], score: float | None = None, pinned: bool = False
    ) -> None:
        """Save in the background, after the save before. If it fails, `report` gets a line and `wait` raises.

        Args:
            update: Number of the update after which `state` was; the checkpoint's name.
            state: A pytree of arrays. It is copied before this returns, so its buffers can be donated.
            meta: What else to keep, as JSON.
            score: The best checkpoint has the highest; None and NaN are never the best.
            pinned: Keep it for ever.
        """
        self.settle()
        if score is not None and not math.isfinite(score):
            score = None
        self.best_score = max((known for known in (self.best_score, score) if known is not None), default=None)
        everything = meta | {"schema": SCHEMA, "update": update, "score": score, "pinned": pinned}
        everything["leaves"] = describe(state)
        named = {name: leaf.copy() for name, leaf in to_named(state).items()}
        self._pending = self._thread.submit(self._try_to_write, update, named, everything)

    def settle(self) -> None:
        """Return when everything is on disk, or could not be put there."""
        if self._pending is not None:
            self._pending.result()

    def wait(self) -> None:
        """Return when everything is on disk.

        Raises:
            CheckpointError: The last save failed.
        """
        self.settle()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the thread when everything is on disk, or could not be put there."""
        self._thread.shutdown()

    def _try_to_write(self, update: int, named: Named, meta: dict[str, Any]) -> None:
        try:
            self._write(update, named, meta)
            self._error = None
        except Exception as error:  # orbax has no errors of its own, and a full disk comes as several kinds
            self._error = CheckpointError(f"checkpoint: cannot write {self.directory / str(update)}: {reason(error)}")
            self._report(str(self._error))

    def _write(self, update: int, named: Named, meta: dict[str, Any]) -> None:
        unfinished, trash, place = self.directory / ".unfinished", self.directory / ".trash", str(update)
        for leftover in (unfinished, trash):
            shutil.rmtree(leftover, ignore_errors=True)
            leftover.mkdir(parents=True)
        try:
            folder = unfinished / place
            import orbax.checkpoint as ocp

            # NumPy arrays: of arrays of jax orbax takes three times as long, to note where they lie, which nobody asks.
            _checkpointer().save((folder / "state").absolute(), args=ocp.args.PyTreeSave(jax.device_get(named)))
            (folder / "meta.json").write_text(json.dumps(meta, indent=1))
            files = _files(folder)
            (folder / _SUMS).write_text("".join(f"{_sha256(folder / name)}  {name}\n" for name in files))
            _flush(folder)
            if (self.directory / place).exists():  # damaged, or of a run that was rewound
                (self.directory / place).rename(trash / place)
            folder.rename(self.directory / place)
            fsync_path(self.directory)
            self.newest = update
            self._kept[update] = {"score": meta["score"], "pinned": meta["pinned"]}
            for old in set(saved_updates(self.directory)) - self._wanted():
                (self.directory / str(old)).rename(trash / str(old))
                self._kept.pop(old, None)
        finally:
            for leftover in (unfinished, trash):
                shutil.rmtree(leftover, ignore_errors=True)

    def _wanted(self) -> set[int]:
        newest = sorted(self._kept)[-self.keep :]
        best = [best] if (best := best_of(self._kept)) is not None else []
        return {*newest, *best, *(update for update, meta in self._kept.items() if meta.get("pinned"))}


def best_of(metas: dict[int, dict[str, Any]]) -> int | None:
    """The update with the highest score, the later of equals; None if none has one."""
    scored = [(meta["score"], update) for update, meta in metas.items() if meta.get("score") is not None]
    return max(scored)[1] if scored else None


def saved_updates(directory: Path) -> list[int]:
    """Names of the checkpoints in a directory, ascending; whether they are good is not looked at."""
    return sorted(int(path.name) for path in directory.glob("[0-9]*") if path.name.isdecimal())


def good_checkpoints(directory: Path, report: Callable[[str], None] = print) -> Iterator[Checkpoint]:
    """Checkpoints whose files are all as written, newest first; `report` gets a line for each of the others.

    Raises:
        CheckpointError: A checkpoint of another schema.
    """
    for update in reversed(saved_updates(directory)):
        path = directory / str(update)
        try:
            damage = _damage(path)
        except OSError as error:
            damage = f"{error.filename or path}: {error.strerror}"
        if damage is None:
            yield Checkpoint(path, update, _meta(path))
        elif path.exists():  # else a running training has deleted it in the meantime
            report(f"checkpoint: {damage}; looking for an older one")


def choose(directory: Path, which: str) -> Checkpoint:
    """The checkpoint that an option names: last, best or the number of an update.

    Raises:
        UserError: There is none, or it is damaged.
    """
    good = good_checkpoints(directory)
    if which == "last":
        found = next(good, None)
    else:
        by_update = {checkpoint.update: checkpoint for checkpoint in good}
        best = best_of({update: checkpoint.meta for update, checkpoint in by_update.items()})
        found = by_update.get(best if which == "best" else int(which))  # type: ignore[arg-type]
        if found is None and by_update:
            raise UserError(f"checkpoint: {which!r} is none of last, best, {', '.join(map(str, sorted(by_update)))}")
    if found is None:
        raise UserError(f"checkpoint: none in {directory}")
    return found


def newest_meta(directory: Path) -> dict[str, Any] | None:
    """What the newest checkpoint says of itself, without a look at its other files; None if none can be read."""
    for update in reversed(saved_updates(directory)):
        with contextlib.suppress(OSError):
            return _meta(directory / str(update))
    return None


def _meta(path: Path) -> dict[str, Any]:
    """`meta.json` of a checkpoint whose files are good.

    Raises:
        CheckpointError: Another schema, or it was not written by a `CheckpointStore`.
    """
    try:
        meta = json.loads((path / "meta.json").read_text())
    except ValueError as error:
        raise CheckpointError(f"checkpoint: {path}/meta.json is no JSON ({error})") from error
    schema = meta.get("schema") if isinstance(meta, dict) else None
    if schema != SCHEMA:
        raise CheckpointError(f"checkpoint: {path} has schema {schema}; this version reads {SCHEMA}")
    if not isinstance(meta.get("leaves"), dict):
        raise CheckpointError(f"checkpoint: {path}/meta.json has no leaves")
    return meta


def read(checkpoint: Checkpoint, template: Any, partial: bool = False) -> Any:
    """The state in a checkpoint.

    Args:
        checkpoint: One of `good_checkpoints`.
        template: A pytree of arrays or `jax.ShapeDtypeStruct`s. A leaf with a `sharding` is laid out by it, whatever
            devices wrote it; others go to the first device.
        partial: Read the leaves of the template only.

    Raises:
        CheckpointError: A leaf is missing, left over, or has another shape or dtype; one line that names it.
    """
    import orbax.checkpoint as ocp

    complaint = mismatch(template, checkpoint.meta["leaves"], partial)
    if complaint:
        raise CheckpointError(f"checkpoint: {checkpoint.path} does not fit: {complaint}")
    wanted = named_structs(template, jax.sharding.SingleDeviceSharding(jax.local_devices()[0]))
    restore_args = ocp.checkpoint_utils.construct_restore_args(wanted)
    arguments = ocp.args.PyTreeRestore(wanted, restore_args=restore_args, partial_restore=partial)
    return from_named(template, _checkpointer().restore((checkpoint.path / "state").absolute(), args=arguments))


@cache
def _checkpointer() -> Any:
    import orbax.checkpoint as ocp

    silence()
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler())


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damage(folder: Path) -> str | None:
    """What is wrong with the files of a checkpoint, the first of them named; None if nothing is."""
    sums = folder / _SUMS
    lines = sums.read_bytes().decode(errors="replace").splitlines()
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = [name for name in _files(folder) if name != _SUMS]
    for name in found:
        if expected.pop(name, None) != _sha256(folder / name):
            return f"{folder / name} is not what {_SUMS} says"
    return f"{folder / next(iter(expected))} is missing" if expected else None


def _flush(folder: Path) -> None:
    """Force a folder to the disk: a rename must not survive a power cut that what it names does not."""
    for path in (*folder.rglob("*"), folder):
        fsync_path(path)
