"""Finds out which rows of a run W&B already has, in its local files or on the server.

W&B renumbers its own `_step` when the pieces of an offline run are uploaded. Therefore rows are
identified by their environment steps: the n-th row of a step is the n-th line of that step and seed
in `metrics.jsonl`.
"""

import json
import os
import re
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlformers.errors import named_line

X_AXIS = "env_steps"
_BLOCK = 32768  # bytes
_HEADER = 7  # bytes, of the file and of every chunk
_TIMEOUT = 20  # seconds


def local_rows(run_dir: Path, run_id: str) -> list[dict[str, Any]]:
    """The history in all local files of a run, written online or offline, in order of time."""
    return [row for file in _files(run_dir, run_id) for row, _ in history(file)]


def read_back(run_dir: Path, run_id: str, at_least: int) -> tuple[list[dict[str, Any]], str | None]:
    """`local_rows` after `mend`, and a few words on why they are wrong, or None.

    The format of these files is private to W&B. Reading them must find at least the rows that were
    written.

    Args:
        run_dir: The run directory.
        run_id: Id of the W&B run.
        at_least: Number of rows in the files when a training last ended normally.
    """
    try:
        mend(run_dir, run_id)
        rows = local_rows(run_dir, run_id)
    except Exception as error:  # of any kind: the format may have changed
        return [], named_line(error)
    found = sum(steps_of(rows).values())
    return rows, None if found >= at_least else f"{found} rows where {at_least} were written"


def steps_of(rows: list[dict[str, Any]]) -> Counter[int]:
    """The number of rows for each number of environment steps."""
    return Counter(row[X_AXIS] for row in rows if X_AXIS in row)


def server_steps(run: Any) -> Counter[int]:
    """`steps_of` the rows that the server has of an online run.

    Raises:
        Exception: Any error of W&B: the server cannot be asked.
    """
    import wandb

    path = f"{run.entity}/{run.project}/{run.id}"
    scan = wandb.Api(timeout=_TIMEOUT).run(path).scan_history(keys=[X_AXIS], use_cache=False)
    return steps_of(list(scan))


def local_media(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The SHA-256 sums of the newest media in rows of `local_rows`, by key."""
    sums = {key: value for row in rows for key, value in row.items() if key.endswith("/sha256")}
    return {key.removesuffix("/sha256"): value for key, value in sums.items()}


def server_media(run: Any) -> dict[str, str]:
    """`local_media` for the media that the server has of an online run."""
    summary = {key: value for key, value in dict(run.summary).items() if key.startswith("media/")}
    return {key: dict(value).get("sha256", "") for key, value in summary.items()}


def mark_uploaded(run_dir: Path, run_id: str) -> None:
    """Tell `wandb sync` to skip the offline files of a run, because the server already has its rows."""
    for file in _offline_files(run_dir, run_id):
        _mark(file)


def _mark(file: Path) -> None:
    file.with_name(file.name + ".synced").touch()


def _files(run_dir: Path, run_id: str) -> list[Path]:
    """In order of time. W&B numbers the folders of starts within the same second: `-1` after the id and so on."""
    folder = re.compile(rf"(?:offline-)?run-(\d+_\d+)-{re.escape(run_id)}(?:-(\d+))?")
    found = []
    for file in (run_dir / "wandb").glob(f"*run-*/run-{run_id}.wandb"):
        if start := folder.fullmatch(file.parent.name):
            found.append((start[1], int(start[2] or 0), file))
    return [file for *_, file in sorted(found)]


def _offline_files(run_dir: Path, run_id: str) -> list[Path]:
    return [file for file in _files(run_dir, run_id) if file.parent.name.startswith("offline-")]


def history(file: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """The whole rows in a .wandb file, each with the position of its end. A killed writer may leave a part of one."""
    from wandb.proto import wandb_internal_pb2

    Record: Any = wandb_internal_pb2.Record  # type: ignore[attr-defined]
    for content, end in _records(file.read_bytes()):
        record = Record.FromString(content)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            yield {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}, end


def mend(run_dir: Path, run_id: str) -> None:
    """Cut off an unfinished last record, left by a killed writer, from the offline files of a run.

    `wandb sync` would stop at that record and ignore the later files of the run. If it has already
    done so (it leaves a state file), it must not send the whole records again.
    """
    for file in _offline_files(run_dir, run_id):
        data = file.read_bytes()
        *_, end = (_HEADER, *(end for _, end in _records(data)))
        if end < len(data):
            os.truncate(file, end)
            if file.with_name(file.name + ".syncstate").exists():
                _mark(file)


def _records(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The whole records of a log in LevelDB's format, each with the position of its end.

    Blocks of 32 KiB hold chunks: checksum (4 bytes), length (2), type (1: a whole record, 2: its
    first chunk, 3: a middle one, 4: its last), content. No chunk begins in the last 6 bytes of a
    block.
    """
    at, record = _HEADER, b""
    while at + _HEADER <= len(data):
        if _BLOCK - at % _BLOCK < _HEADER:
            at += _BLOCK - at % _BLOCK
            continue
        length, kind = struct.unpack_from("<4xHB", data, at)
        chunk = data[at + _HEADER : at + _HEADER + length]
        if kind == 0 or len(chunk) < length:
            return
        at += _HEADER + length
        record = chunk if kind in (1, 2) else record + chunk
        if kind in (1, 4):
            yield record, at
