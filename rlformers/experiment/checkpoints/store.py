"""Checkpoints: orbax stores the arrays; the store around it makes sure that they can be trusted.

    RUN_DIR/checkpoints/<update>/
        state/       every leaf of the TrainState under its name, by orbax
        meta.json    schema, shapes and dtypes of the leaves, and what the outer loop needs to continue
        SHA256SUMS   of every other file; `sha256sum -c SHA256SUMS` reads it

A checkpoint is written beside its place and then renamed into it. It is renamed away before it is
deleted. So a process that dies at any moment leaves only whole checkpoints. Orbax alone silently
restores one flipped bit in six; here every file is first compared with its hash. Nothing is
pickled.
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
from rlformers.experiment.checkpoints.older_observations import older_template, renewed
from rlformers.experiment.checkpoints.orbax_errors import reason, silence
from rlformers.experiment.run_files.file_lock import fsync_path

SCHEMA = 1  # version of the names of leaves and of meta.json; raise it when older checkpoints become unreadable
_SUMS = "SHA256SUMS"


class CheckpointError(FileError):
    """A checkpoint cannot be written or read; one line that names the file."""


class Checkpoint(NamedTuple):
    """A checkpoint whose files are intact."""

    path: Path
    update: int
    meta: dict[str, Any]


class CheckpointStore:
    """Writes the checkpoints of one run, in a thread of its own, and deletes those that are no longer wanted.

    Args:
        directory: `RUN_DIR/checkpoints`; made if missing. Only one process at a time may write
            there.
        keep: Number of newest checkpoints to keep. The best one and the pinned ones are kept as
            well.
        resumed: The checkpoint that the run continues from. Newer ones are replaced.
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
        self.newest = resumed.update if resumed else 0  # the update of the newest checkpoint on disk
        for update in saved_updates(directory):
            if resumed is not None and update <= resumed.update:
                with contextlib.suppress(OSError, ValueError):  # damaged: it is deleted after the next save
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
        """Save in the background, after the previous save. If it fails, `report` gets a line and `wait` raises.

        Args:
            update: Number of the update that made `state`; the name of the checkpoint.
            state: A pytree of arrays. It is copied before this returns, so its buffers can be
                donated.
            meta: Other data to keep, as JSON.
            score: The best checkpoint has the highest score; None and NaN are never the best.
            pinned: Keep it forever.
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
        """Wait until everything is on disk or has failed."""
        if self._pending is not None:
            self._pending.result()

    def wait(self) -> None:
        """Wait until everything is on disk.

        Raises:
            CheckpointError: The last save failed.
        """
        self.settle()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Wait until everything is on disk or has failed, and end the thread."""
        self._thread.shutdown()

    def _try_to_write(self, update: int, named: Named, meta: dict[str, Any]) -> None:
        try:
            self._write(update, named, meta)
            self._error = None
        except Exception as error:  # orbax has no error type of its own, and a full disk raises several
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

            # NumPy arrays: orbax takes three times as long for jax arrays, to note their devices,
            # which nobody needs.
            _checkpointer().save((folder / "state").absolute(), args=ocp.args.PyTreeSave(jax.device_get(named)))
            (folder / "meta.json").write_text(json.dumps(meta, indent=1))
            files = _files(folder)
            (folder / _SUMS).write_text("".join(f"{_sha256(folder / name)}  {name}\n" for name in files))
            _flush(folder)
            if (self.directory / place).exists():  # damaged, or from before the run was rewound
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
    """The update with the highest score, of equal ones the later; None if no update has a score."""
    scored = [(meta["score"], update) for update, meta in metas.items() if meta.get("score") is not None]
    return max(scored)[1] if scored else None


def saved_updates(directory: Path) -> list[int]:
    """The updates of the checkpoints in a directory, ascending. Does not check whether they are good."""
    return sorted(int(path.name) for path in directory.glob("[0-9]*") if path.name.isdecimal())


def good_checkpoints(directory: Path, report: Callable[[str], None] = print) -> Iterator[Checkpoint]:
    """Checkpoints whose files are all intact, newest first; `report` gets a line for each of the others.

    Raises:
        CheckpointError: A checkpoint has another schema.
    """
    for update in reversed(saved_updates(directory)):
        path = directory / str(update)
        try:
            damage = _damage(path)
        except OSError as error:
            damage = f"{error.filename or path}: {error.strerror}"
        if damage is None:
            yield Checkpoint(path, update, _meta(path))
        elif path.exists():  # otherwise a running training has just deleted it
            report(f"checkpoint: {damage}; looking for an older one")


def choose(directory: Path, which: str) -> Checkpoint:
    """The checkpoint that an option names: last, best or the number of an update.

    Raises:
        UserError: There is no such checkpoint, or it is damaged.
    """
    good = good_checkpoints(directory)
    if which == "last":
        found = next(good, None)
    else:
        by_update = {checkpoint.update: checkpoint for checkpoint in good}
        best = best_of({update: checkpoint.meta for update, checkpoint in by_update.items()})
        found = by_update.get(best if which == "best" else int(which))  # type: ignore[arg-type]
        if found is None and by_update:
            raise UserError(f"checkpoint: {which!r} is not one of last, best, {', '.join(map(str, sorted(by_update)))}")
    if found is None:
        raise UserError(f"checkpoint: there is none in {directory}")
    return found


def newest_meta(directory: Path) -> dict[str, Any] | None:
    """`meta.json` of the newest checkpoint, without a check of its other files; None if none can be read."""
    for update in reversed(saved_updates(directory)):
        with contextlib.suppress(OSError):
            return _meta(directory / str(update))
    return None


def _meta(path: Path) -> dict[str, Any]:
    """`meta.json` of a checkpoint whose files are good.

    Raises:
        CheckpointError: It has another schema, or no `CheckpointStore` wrote it.
    """
    try:
        meta = json.loads((path / "meta.json").read_text())
    except ValueError as error:
        raise CheckpointError(f"checkpoint: {path}/meta.json is not JSON ({error})") from error
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
        template: A pytree of arrays or `jax.ShapeDtypeStruct`s. A leaf with a `sharding` gets that
            layout, whatever devices wrote it; others go to the first device.
        partial: Read only the leaves of the template.

    Raises:
        CheckpointError: A leaf is missing, unexpected, or has another shape or dtype; one line that
            names it.
    """
    import orbax.checkpoint as ocp

    complaint = mismatch(template, checkpoint.meta["leaves"], partial)
    older = older_template(template) if complaint else None
    if older is not None and not mismatch(older, checkpoint.meta["leaves"], partial):
        return renewed(read(checkpoint, older, partial), template)
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
    """The first damage in the files of a checkpoint, with the name of the file; None if they are intact."""
    sums = folder / _SUMS
    lines = sums.read_bytes().decode(errors="replace").splitlines()
    expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = [name for name in _files(folder) if name != _SUMS]
    for name in found:
        if expected.pop(name, None) != _sha256(folder / name):
            return f"{folder / name} does not match {_SUMS}"
    return f"{folder / next(iter(expected))} is missing" if expected else None


def _flush(folder: Path) -> None:
    """Force a folder to the disk: after a power cut, a renamed folder must not have lost its files."""
    for path in (*folder.rglob("*"), folder):
        fsync_path(path)
