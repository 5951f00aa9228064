"""`metrics.jsonl`: the record of a run, of which everything else is a view."""

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
    """A line of JSON per row, written at once. Numbers that are not finite become null: NaN is no JSON.

    Args:
        path: The file. What it has beyond `size` bytes is cut off: lines that a resumed run will write again.
        size: Bytes that are known to be whole lines.

    Raises:
        FileError: It cannot be written, with its path.
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
            while line:  # a disk that is nearly full takes a part
                line = line[self.file.write(line) :]

    def sync(self) -> int:
        """Force what was written to the disk and say how many bytes that is.

        Raises:
            FileError: It cannot be written, with the path of the file.
        """
        with _naming(self.path):
            fsync(self.file.fileno())
        return self.file.tell()

    def commit(self, step: int) -> None:
        """Nothing: a resumed run cuts off what it will write again."""

    def renew(self, seed: int) -> None:
        """Nothing: it is the record itself."""

    def finish(self, summary: dict[str, Any]) -> None:
        """Close the file."""
        del summary  # It has a file of its own.
        self.file.close()


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """The error of a full disk names no file."""
    try:
        yield
    except OSError as error:
        raise FileError(error.errno, error.strerror, str(path)) from error


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, without a last line that the death of its writer has left unfinished; none if it is missing.

    Raises:
        UserError: A line is no row; its number is named.
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
            raise UserError(f"{path}: line {number} is no row of metrics") from error
        rows.append(row)
    return rows
