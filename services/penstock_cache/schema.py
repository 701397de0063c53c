"""The database's tables. `user_version` counts the migrations that a file has seen."""

import sqlite3
from itertools import chain

from penstock_shared.errors import FailedPreconditionError

# The statements of each version; a released one is never edited.
_MIGRATIONS = (
    (
        """
        CREATE TABLE entries (
            id INTEGER PRIMARY KEY,
            entry_id TEXT NOT NULL UNIQUE,
            tenant TEXT NOT NULL,
            exact_digest BLOB NOT NULL,
            model_revision TEXT NOT NULL,
            answer BLOB NOT NULL,
            size_bytes INTEGER NOT NULL,
            created_s REAL NOT NULL,
            expires_s REAL NOT NULL,
            used_s REAL NOT NULL,
            UNIQUE (tenant, exact_digest)
        )
        """,
        "CREATE INDEX entries_by_use ON entries (used_s)",
        "CREATE INDEX entries_by_expiry ON entries (expires_s)",
        "CREATE INDEX entries_by_revision ON entries (tenant, model_revision)",
        """
        CREATE TABLE tags (
            entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
            tag TEXT NOT NULL,
            PRIMARY KEY (tag, entry)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX tags_by_entry ON tags (entry)",
        """
        CREATE TABLE totals (
            tenant TEXT PRIMARY KEY,
            num_entries INTEGER NOT NULL,
            size_bytes INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        """
        CREATE TRIGGER count_new AFTER INSERT ON entries BEGIN
            INSERT INTO totals VALUES (new.tenant, 1, new.size_bytes)
            ON CONFLICT (tenant) DO UPDATE SET num_entries = num_entries + 1, size_bytes = size_bytes + new.size_bytes;
        END
        """,
        """
        CREATE TRIGGER count_gone AFTER DELETE ON entries BEGIN
            UPDATE totals SET num_entries = num_entries - 1, size_bytes = size_bytes - old.size_bytes
            WHERE tenant = old.tenant;
            DELETE FROM totals WHERE tenant = old.tenant AND num_entries = 0;
        END
        """,
    ),
)
VERSION = len(_MIGRATIONS)


def migrate(connection: sqlite3.Connection) -> None:
    """Brings a database to this version, in one transaction: a kill in the middle leaves it as it was.

    Raises:
        FailedPreconditionError: a newer version has written it.
    """
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found > VERSION:
            raise FailedPreconditionError(
                f"the cache database has schema {found} and this version knows {VERSION}: start the newer version, or"
                " move the file away"
            )
        for statement in chain.from_iterable(_MIGRATIONS[found:]):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
