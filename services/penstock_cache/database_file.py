"""The database's file: opened, brought to this version, and set aside where it is damaged."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from penstock_cache.schema import migrate
from penstock_cache.sqlite_connection import SqliteConnection
from penstock_shared.errors import UnavailableError
from penstock_shared.logs import get_logger

_BUSY_TIMEOUT_S = 5.0
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# Beside the file itself: the write-ahead log and its index.
_SUFFIXES = ("", "-wal", "-shm")


def prepare(path: Path) -> None:
    """Makes sure that there is a sound database of this version at `path`.

    Raises:
        FailedPreconditionError: a newer version has written it.
        UnavailableError: it can be neither opened nor made.
    """
    try:
        if not _is_sound(path):
            _set_aside(path)
        with closing(connect(path)) as connection:
            migrate(connection)
    except (sqlite3.Error, OSError) as error:
        raise UnavailableError(f"cannot use the cache database {path}: {error}") from error


def connect(path: Path, *, is_reader: bool = False) -> SqliteConnection:
    """A connection for one thread; transactions are begun and ended by hand."""
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, factory=SqliteConnection
    )
    connection.execute("PRAGMA journal_mode = WAL")
    # A kill of the process loses nothing that was committed; a power cut may lose the last commits and damages nothing.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    if is_reader:
        connection.execute("PRAGMA query_only = ON")
    return connection


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file's content is at fault, and not the disk's space or another process."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGE


def _is_sound(path: Path) -> bool:
    if not path.exists():
        return True
    try:
        with closing(connect(path)) as connection:
            # The quick one is wrong about tables of earlier versions; see `schema.py`.
            return any(_passes(connection, check) for check in ("quick_check", "integrity_check"))
    except sqlite3.Error as error:
        if is_damage(error):
            return False
        raise


def _passes(connection: SqliteConnection, check: str) -> bool:
    (verdict,) = connection.execute(f"PRAGMA {check}(1)").fetchone()
    return bool(verdict == "ok")


def _set_aside(path: Path) -> None:
    """Answers can be made again; a file that lies must not be read, nor be lost to whoever wants to know why."""
    name = f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}"
    for suffix in _SUFFIXES:
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(path.with_name(name + suffix))
    get_logger("database").error("the database is damaged: set aside, starting with an empty one", kept_as=name)
