"""A file whose content may change while a server runs."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from penstock_shared.documents import describe_unreadable
from penstock_shared.errors import FailedPreconditionError
from penstock_shared.logs import get_logger

T = TypeVar("T")
# A change is seen this late at most.
_CHECK_EVERY_S = 1.0


class WatchedFile(Generic[T]):
    """The last good content of a file. A broken or vanished file changes nothing but the log.

    Args:
        path: of the file, which need not exist.
        parse: makes a value of the content; raises ValueError where that cannot be.
        clock: monotonic seconds.

    Attributes:
        path: of the file.

    Raises:
        FailedPreconditionError: the file is there and cannot be read: a server must not start without what it says.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._parse = parse
        self._clock = clock
        self._log = get_logger("watched_file")
        self._value: T | None = None
        self._checked_s = clock()
        self._signature = self._sign()
        if self._signature is not None:
            try:
                self._value = self._read()
            except (OSError, ValueError) as error:
                raise FailedPreconditionError(f"{path}: {describe_unreadable(error)}") from error

    def current(self) -> T | None:
        """The value, not more than a second old; None where there has never been a file. Costs next to nothing."""
        if self._clock() - self._checked_s >= _CHECK_EVERY_S:
            self.refresh()
        return self._value

    def refresh(self) -> T | None:
        """The value as the file has it now."""
        self._checked_s = self._clock()
        signature = self._sign()
        if signature != self._signature:
            self._signature = signature
            self._take_change()
        return self._value

    def _take_change(self) -> None:
        try:
            self._value = self._read()
        except (OSError, ValueError) as error:
            self._log.error(
                "cannot read; the last good content stays in force",
                path=str(self.path),
                error=describe_unreadable(error),
            )
        else:
            self._log.info("read again", path=str(self.path))

    def _read(self) -> T:
        return self._parse(self.path.read_bytes())

    def _sign(self) -> tuple[int, int, int] | None:
        """What differs when the file was replaced or written to; None where there is none."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - half the price of Path.stat
        except FileNotFoundError:
            return None
        except OSError as error:  # it may be there: reading it will tell what is wrong
            return (error.errno or 0, 0, 0)
        return found.st_ino, found.st_mtime_ns, found.st_size
