"""A short-named private directory that goes with its process, or, where that was killed, with the next one to start."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "penstock-"
_LOCK_NAME = "lock"


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A fresh directory for as long as the block lasts. Those of processes that were killed are removed first."""
    _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        directory = Path(name)
        unlocked = directory / f"{_LOCK_NAME}.new"
        with unlocked.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            unlocked.rename(directory / _LOCK_NAME)  # nobody sees the file before it is locked
            yield directory


def _remove_abandoned() -> None:
    """The system drops a lock with the process that held it: an unlocked directory has no owner."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK_NAME}"):
        with suppress(OSError), path.open() as lock:  # another process's, or somebody else removes it just now
            if os.fstat(lock.fileno()).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent, ignore_errors=True)
