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
    (
        "ALTER TABLE entries ADD COLUMN tokens_saved INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE entries ADD COLUMN num_uses INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE entries ADD COLUMN priority REAL NOT NULL DEFAULT 0",
        "DROP INDEX entries_by_use",
        "CREATE INDEX entries_by_priority ON entries (priority, used_s, id)",
        # Ids of scopes and prompts name them in the index files too: none may ever come back with another meaning.
        """
        CREATE TABLE scopes (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            tenant TEXT NOT NULL,
            context_digest BLOB NOT NULL,
            encoder_fingerprint TEXT NOT NULL,
            UNIQUE (tenant, context_digest, encoder_fingerprint)
        )
        """,
        """
        CREATE TABLE prompts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            entry INTEGER NOT NULL UNIQUE REFERENCES entries (id) ON DELETE CASCADE,
            scope INTEGER NOT NULL REFERENCES scopes (id),
            cluster TEXT NOT NULL,
            text BLOB NOT NULL,
            vector BLOB NOT NULL,
            detail BLOB NOT NULL
        )
        """,
        "CREATE INDEX prompts_by_scope ON prompts (scope)",
        """
        CREATE TABLE labels (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            tenant TEXT NOT NULL,
            model TEXT NOT NULL,
            cluster TEXT NOT NULL,
            score REAL NOT NULL,
            is_correct INTEGER NOT NULL,
            propensity REAL NOT NULL,
            time_s REAL NOT NULL
        )
        """,
        "CREATE INDEX labels_by_model ON labels (tenant, model, number)",
        # Index files of another database must not be taken for this one's.
        "CREATE TABLE identity (database_id TEXT NOT NULL)",
        "INSERT INTO identity VALUES (lower(hex(randomblob(16))))",
    ),
    # `PRAGMA quick_check` of SQLite 3.40 reads the wrong column where those of a key do not stand in its order, and
    # finds a sound table damaged.
    (
        """
        CREATE TABLE ordered_tags (
            tag TEXT NOT NULL,
            entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
            PRIMARY KEY (tag, entry)
        ) WITHOUT ROWID
        """,
        "INSERT INTO ordered_tags SELECT tag, entry FROM tags",
        "DROP TABLE tags",
        "ALTER TABLE ordered_tags RENAME TO tags",
        "CREATE INDEX tags_by_entry ON tags (entry)",
    ),
    (
        "CREATE TABLE present_encoder (fingerprint TEXT NOT NULL)",
        "CREATE INDEX labels_by_time ON labels (tenant, model, time_s)",
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
