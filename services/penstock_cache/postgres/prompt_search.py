"""The nearest prompts of a scope, by pgvector."""

import numpy as np
from numpy.typing import NDArray

from penstock_cache import prompt_statements
from penstock_cache.entries import Neighbour, PromptScope
from penstock_cache.postgres.connection import PostgresConnection
from penstock_cache.semantic.prompts import EncodedPrompt

# So that those which expired since the last sweep, and those that an index misplaces, leave enough.
_OVERSAMPLING = 2
MIN_INDEX_SIZE = 5_000
# Held by whoever makes indexes, among all instances: "pnsidx" in ASCII.
_INDEX_LOCK = 0x706E73696478


def neighbours(
    connection: PostgresConnection, scope: PromptScope, vector: NDArray[np.float32], limit: int, now_s: float
) -> list[Neighbour]:
    """The nearest prompts of a scope whose answers have not expired, nearest first."""
    row = prompt_statements.find_scope(connection, scope)
    if row is None:
        return []
    column = f"vector::vector({len(vector)})"
    rows = connection.execute(
        # The scope as a literal, so that the planner sees that the scope's own index is the one.
        f"WITH near AS MATERIALIZED (SELECT entry, cluster, text, vector, detail FROM prompts WHERE scope = {row:d}"  # noqa: S608 - a number
        f" ORDER BY {column} <#> :vector LIMIT :num_near)"
        " SELECT entry_id, cluster, created_s, text, vector, detail FROM near JOIN entries ON entries.id = entry"
        " WHERE expires_s > :now_s",
        {"vector": connection.to_column(vector), "num_near": _OVERSAMPLING * limit, "now_s": now_s},
    )
    found = []
    for entry_id, cluster, created_s, text, stored, detail in rows:
        prompt = EncodedPrompt(text.decode(), connection.to_vector(stored), detail)
        found.append(Neighbour(entry_id, cluster, float(prompt.vector @ vector), created_s, prompt))
    return sorted(found, key=lambda neighbour: -neighbour.similarity)[:limit]


def index_large_scopes(connection: PostgresConnection, min_size: int) -> None:
    """Gives each large scope an index of its own, and takes those away whose scopes are gone.

    One index for all would look for near prompts first and for the scope's among them afterwards. Instances take turns;
    writes go on meanwhile.
    """
    if not _take_turn(connection):
        return
    try:
        connection.execute("SET statement_timeout = 0")
        rows = connection.execute("SELECT scope, count(*) FROM prompts GROUP BY scope")
        sizes = {int(scope): int(size) for scope, size in rows}
        indexed = _indexed(connection)
        for scope, is_valid in indexed.items():
            if scope not in sizes or not is_valid:
                connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS prompts_near_{scope:d}")
        large = [scope for scope, size in sizes.items() if size >= min_size and not indexed.get(scope)]
        for scope in large:
            _make_index(connection, scope)
        if large:
            connection.execute("ANALYZE prompts")  # a planner that takes a scope for small does not look at its index
    finally:
        connection.execute("RESET statement_timeout")
        connection.execute("SELECT pg_advisory_unlock(?)", (_INDEX_LOCK,))


def _take_turn(connection: PostgresConnection) -> bool:
    (is_ours,) = connection.execute("SELECT pg_try_advisory_lock(?)", (_INDEX_LOCK,)).fetchone()
    return bool(is_ours)


def _indexed(connection: PostgresConnection) -> dict[int, bool]:
    """The scopes that have an index, and whether it was made to the end."""
    rows = connection.execute(
        "SELECT substring(relname FROM '^prompts_near_([0-9]+)$')::bigint, indisvalid FROM pg_index"
        " JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = 'prompts'::regclass"
        " AND starts_with(relname, 'prompts_near_')"
    )
    return dict(rows.fetchall())


def _make_index(connection: PostgresConnection, scope: int) -> None:
    (dimension,) = connection.execute(
        "SELECT vector_dims(vector) FROM prompts WHERE scope = ? LIMIT 1", (scope,)
    ).fetchone()
    connection.execute(
        f"CREATE INDEX CONCURRENTLY prompts_near_{scope:d} ON prompts"
        f" USING hnsw ((vector::vector({dimension:d})) vector_ip_ops) WHERE scope = {scope:d}"
    )
