"""Locks files where the operating system and the file system can, and forces files to the disk.

Lustre, NFS and FUSE may lack locks or `fsync`, and Windows lacks `fcntl`. Training works there too;
each process prints one line that says what is not guaranteed.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# The answers of a file system that lacks a call.
_LACKING = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


def lock(file: Any, *, wait: bool = False, shared: bool = False, report: Callable[[str], None] = print) -> bool:
    """Lock an open file until it is closed or its process dies.

    Args:
        file: An open file.
        wait: Wait until the lock is free.
        shared: Allow other shared locks at the same time.
        report: Gets a line if there are no locks here; once per process.

    Returns:
        Whether the file is locked: False where there are no locks.

    Raises:
        BlockingIOError: Another process has the lock.
    """
    if fcntl is None:
        _say_unlocked("this operating system", report)
        return False
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        return True
    except BlockingIOError:
        raise
    except OSError as error:
        _say_unlocked(f"the file system of {Path(file.name).parent}", report, os.strerror(error.errno or 0))
        return False


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file; False if the file is missing or there are no locks."""
    try:
        with path.open() as file:
            lock(file, shared=True, report=lambda line: None)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def fsync(descriptor: int) -> None:
    """Force a file to the disk, where the file system can.

    Raises:
        OSError: The file cannot be written. A file system without `fsync` raises nothing.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _LACKING:
            raise


def fsync_path(path: Path) -> None:
    """`fsync` of a file or folder by its path. Does nothing for folders on Windows."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)


_said: set[str] = set()


def _say_unlocked(where: str, report: Callable[[str], None], why: str = "") -> None:
    if where not in _said:
        because = f" ({why})" if why else ""
        line = f"{where} has no file locks{because}: nothing keeps a second process from the same run directory"
        report(line)
        _said.add(where)
