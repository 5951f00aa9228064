"""`metrics.jsonl`: the record of a run. Everything else is a view of it."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlformers.errors import FileError, UserError
from rlformers.experiment.run_files.file_lock import fsync
from rlformers.experiment.run_files.run_dir import finite

Row = dict[str, float | int | None]


class JsonlSink:
    """A line of JSON per row, written at once. Numbers that are not finite become null: JSON has no NaN.

    Args:
        path: The file. Everything after `size` bytes is cut off: a resumed run will write these
            lines again.
        size: Number of bytes that are known to be whole lines.

    Raises:
        FileError: The file cannot be written; the error has its path.
    """

    def __init__(self, path: Path, size: int = 0):
        self.path = path
        with _naming(path):
            self.file = path.open("ab", buffering=0)
            self.file.truncate(size)
            self.file.seek(size)

    def log(self, row: Row) -> None:
        """Append a row.

        Raises:
            FileError: It cannot be written, with the path of the file.
        """
        line = memoryview((json.dumps(finite(row), allow_nan=False) + "\n").encode())
        with _naming(self.path):
            while line:  # a disk that is nearly full may take only a part
                line = line[self.file.write(line) :]

    def sync(self) -> int:
        """Force everything written to the disk; return the number of bytes.

        Raises:
            FileError: It cannot be written, with the path of the file.
        """
        with _naming(self.path):
            fsync(self.file.fileno())
        return self.file.tell()

    def commit(self, step: int) -> None:
        """Do nothing: a resumed run cuts off the lines that it will write again."""

    def renew(self, seed: int) -> None:
        """Do nothing: this is the record itself."""

    def finish(self, summary: dict[str, Any]) -> None:
        """Close the file."""
        del summary  # It has a file of its own.
        self.file.close()


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Add the path to an error: a full disk names no file."""
    try:
        yield
    except OSError as error:
        raise FileError(error.errno, error.strerror, str(path)) from error


def read_rows(path: Path) -> list[Row]:
    """The rows of a file; none if it is missing. An unfinished last line, left by a killed writer, is skipped.

    Raises:
        UserError: A line is not a row; the error names its number.
    """
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            row["seed"], row["step"]
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path}: line {number} is not a row of metrics") from error
        rows.append(row)
    return rows
