"""The audit log: one JSON object a line for everything that somebody may have to answer for. No secrets, no texts."""

import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from penstock_shared.audit_file import append_lines, audit_line
from penstock_shared.logs import get_logger

_MAX_PENDING = 10_000
# Events that come within this time are written together: the disk is not asked for each.
_GATHER_S = 0.05


class AuditEvent(Protocol):
    """Something to be written down."""

    def fields(self) -> Mapping[str, Any]:
        """Ready for JSON. Called by the writer, later."""


class AuditLog:
    """Writes events in a thread of its own. Adding one never waits: over the bound it is dropped, and that is told.

    Args:
        path: of the file; full ones are kept beside it as `.1`, `.2`, the newest first.
        max_bytes: a file that would grow larger is put aside.
        max_files: how many are kept, the one that grows among them.
        max_pending: most events that wait for the disk.

    Attributes:
        num_dropped: events that were not written.
    """

    def __init__(self, path: Path, *, max_bytes: int, max_files: int, max_pending: int = _MAX_PENDING) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._max_pending = max_pending
        self._pending: deque[AuditEvent] = deque()
        self._has_pending = threading.Event()
        self._is_closing = threading.Event()
        self._num_told = 0
        self.num_dropped = 0
        self._log = get_logger("audit")
        self._writer = threading.Thread(target=self._run, name="audit", daemon=True)

    def __repr__(self) -> str:
        return f"AuditLog({self._path}, pending={len(self._pending)}, dropped={self.num_dropped})"

    def start(self) -> None:
        """Begins to write."""
        self._writer.start()

    def add(self, event: AuditEvent) -> None:
        """Takes an event."""
        if len(self._pending) >= self._max_pending:
            self.num_dropped += 1
            return
        self._pending.append(event)
        if not self._has_pending.is_set():
            self._has_pending.set()

    def close(self) -> None:
        """Writes what is there, and ends the thread."""
        self._is_closing.set()
        self._has_pending.set()
        self._writer.join()
        self._write_pending()  # what came during its last writing

    def _run(self) -> None:
        while not self._is_closing.is_set():
            self._has_pending.wait()
            self._is_closing.wait(_GATHER_S)
            self._has_pending.clear()
            self._write_pending()

    def _write_pending(self) -> None:
        events = [self._pending.popleft() for _ in range(len(self._pending))]
        try:
            if events:
                self._append(events)
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread must go on
            self.num_dropped += len(events)
            self._log.error("cannot write the audit log", path=str(self._path), error=str(error))
        if self.num_dropped > self._num_told:
            self._log.error("audit events dropped", num_dropped=self.num_dropped - self._num_told)
            self._num_told = self.num_dropped

    def _append(self, events: list[AuditEvent]) -> None:
        lines = b"".join(audit_line(event.fields()) for event in events)
        size = self._path.stat().st_size if self._path.exists() else 0
        if size and size + len(lines) > self._max_bytes:
            self._put_aside()
        append_lines(self._path, lines)

    def _put_aside(self) -> None:
        for number in range(self._max_files - 1, 1, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        if self._max_files > 1:
            self._path.replace(self._numbered(1))
        else:
            self._path.unlink()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
