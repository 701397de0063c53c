"""The tables in Postgres, in a schema of their own. `schema_version` counts the migrations that it has seen."""

from itertools import chain
from typing import Any

import psycopg
from psycopg import sql

from penstock_shared.errors import FailedPreconditionError

SCHEMA = "penstock_cache"
# Held by whoever migrates or writes, among all instances: "pnstck" in ASCII.
WRITE_LOCK = 0x706E7374636B

# The statements of each version; a released one is never edited.
_MIGRATIONS = (
    (
        """
        CREATE TABLE entries (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            entry_id text NOT NULL UNIQUE,
            tenant text NOT NULL,
            exact_digest bytea NOT NULL,
            model_revision text NOT NULL,
            answer bytea NOT NULL,
            size_bytes bigint NOT NULL,
            created_s double precision NOT NULL,
            expires_s double precision NOT NULL,
            used_s double precision NOT NULL,
            tokens_saved bigint NOT NULL,
            num_uses bigint NOT NULL,
            priority double precision NOT NULL,
            UNIQUE (tenant, exact_digest)
        )
        """,
        "CREATE INDEX entries_by_priority ON entries (priority, used_s, id)",
        "CREATE INDEX entries_by_expiry ON entries (expires_s)",
        "CREATE INDEX entries_by_revision ON entries (tenant, model_revision)",
        """
        CREATE TABLE tags (
            entry bigint NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
            tag text NOT NULL,
            PRIMARY KEY (tag, entry)
        )
        """,
        "CREATE INDEX tags_by_entry ON tags (entry)",
        """
        CREATE TABLE totals (
            tenant text PRIMARY KEY,
            num_entries bigint NOT NULL,
            size_bytes bigint NOT NULL
        ) WITH (fillfactor = 50)
        """,
        """
        CREATE FUNCTION count_entries() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                INSERT INTO totals VALUES (new.tenant, 1, new.size_bytes)
                ON CONFLICT (tenant) DO UPDATE SET
                    num_entries = totals.num_entries + 1, size_bytes = totals.size_bytes + new.size_bytes;
            ELSE
                UPDATE totals SET num_entries = num_entries - 1, size_bytes = size_bytes - old.size_bytes
                WHERE tenant = old.tenant;
                DELETE FROM totals WHERE tenant = old.tenant AND num_entries = 0;
            END IF;
            RETURN NULL;
        END
        $$
        """,
        """
        CREATE TRIGGER count_entries AFTER INSERT OR DELETE ON entries
        FOR EACH ROW EXECUTE FUNCTION count_entries()
        """,
        """
        CREATE TABLE scopes (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant text NOT NULL,
            context_digest bytea NOT NULL,
            encoder_fingerprint text NOT NULL,
            UNIQUE (tenant, context_digest, encoder_fingerprint)
        )
        """,
        """
        CREATE TABLE prompts (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            entry bigint NOT NULL UNIQUE REFERENCES entries (id) ON DELETE CASCADE,
            scope bigint NOT NULL REFERENCES scopes (id),
            cluster text NOT NULL,
            text bytea NOT NULL,
            vector vector NOT NULL,
            detail bytea NOT NULL
        )
        """,
        # Compared one after the other: a vector lies beside its row, details do not come along.
        "ALTER TABLE prompts ALTER vector SET STORAGE PLAIN, ALTER detail SET STORAGE EXTERNAL",
        "CREATE INDEX prompts_by_scope ON prompts (scope)",
        """
        CREATE TABLE labels (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant text NOT NULL,
            model text NOT NULL,
            cluster text NOT NULL,
            score double precision NOT NULL,
            is_correct boolean NOT NULL,
            propensity double precision NOT NULL,
            time_s double precision NOT NULL
        )
        """,
        "CREATE INDEX labels_by_model ON labels (tenant, model, number)",
    ),
    (
        "CREATE TABLE present_encoder (fingerprint text NOT NULL)",
        "CREATE INDEX labels_by_time ON labels (tenant, model, time_s)",
    ),
)
VERSION = len(_MIGRATIONS)


def migrate(connection: psycopg.Connection[Any]) -> None:
    """Brings a database to this version, in one transaction; instances that start together do it one by one.

    Raises:
        FailedPreconditionError: a newer version has written it, or pgvector is missing.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITE_LOCK,))
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
        connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version int NOT NULL)")
        row = connection.execute("SELECT version FROM schema_version").fetchone()
        found = 0 if row is None else int(row[0])
        if found > VERSION:
            raise FailedPreconditionError(
                f"the cache's tables in Postgres have schema {found} and this version knows {VERSION}: start the newer"
                " version, or name another database"
            )
        if found == 0:
            _require_pgvector(connection)
            connection.execute("INSERT INTO schema_version VALUES (0)")
        for statement in chain.from_iterable(_MIGRATIONS[found:]):
            connection.execute(statement.encode())
        connection.execute("UPDATE schema_version SET version = %s", (VERSION,))


def _require_pgvector(connection: psycopg.Connection[Any]) -> None:
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
    except (psycopg.errors.UndefinedFile, psycopg.errors.FeatureNotSupported) as error:
        raise FailedPreconditionError("the Postgres server has no pgvector: install it there") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise FailedPreconditionError(
            "the cache's role may not make the extension pgvector: have `CREATE EXTENSION vector` run in its database"
        ) from error
