"""The lines of the audit log: one JSON object each, in a file that its owner alone can read."""

import errno
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def audit_line(fields: Mapping[str, Any]) -> bytes:
    """One event."""
    return json.dumps(fields).encode() + b"\n"


def append_lines(path: Path, lines: bytes) -> None:
    """Adds whole lines. Several processes may do so at a time.

    Raises:
        OSError: the file cannot be written.
    """
    # Opened anew each time: whoever puts the file aside meanwhile takes nothing of what comes after.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        if file.write(lines) != len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def iso_time(seconds: float) -> str:
    """An instant since the epoch as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
