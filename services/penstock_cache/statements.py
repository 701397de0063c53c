"""What is asked of the database, each a short function over one connection. Times in seconds since the epoch."""

import sqlite3
from collections import Counter
from collections.abc import Mapping

from penstock_cache.entries import ExactKey, NewEntry, SelectBy, Selector, StoredEntry, Totals

# Rows of the tables and their indexes beside the answer itself, measured on small answers.
_OVERHEAD_BYTES = 512

_WHERE: Mapping[SelectBy, str] = {
    SelectBy.ENTRY_ID: "entry_id = :value",
    SelectBy.TAG: "id IN (SELECT entry FROM tags WHERE tag = :value)",
    SelectBy.MODEL_REVISION: "model_revision = :value",
    SelectBy.ALL: "TRUE",
}


def size_of(entry: NewEntry) -> int:
    """What an entry counts for in the budget, in bytes."""
    return len(entry.answer) + sum(len(tag.encode()) for tag in entry.tags) + _OVERHEAD_BYTES


def find(connection: sqlite3.Connection, key: ExactKey, now_s: float) -> StoredEntry | None:
    """The entry of a key, unless it has expired."""
    row = connection.execute(
        "SELECT entry_id, answer, created_s FROM entries WHERE tenant = ? AND exact_digest = ? AND expires_s > ?",
        (key.tenant, key.digest, now_s),
    ).fetchone()
    return None if row is None else StoredEntry(*row)


def insert(connection: sqlite3.Connection, entry: NewEntry, entry_id: str, now_s: float) -> None:
    """Keeps an entry in place of one of the same key."""
    key = entry.key
    connection.execute("DELETE FROM entries WHERE tenant = ? AND exact_digest = ?", (key.tenant, key.digest))
    row = connection.execute(
        "INSERT INTO entries (entry_id, tenant, exact_digest, model_revision, answer, size_bytes, created_s, expires_s,"
        " used_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            entry_id,
            key.tenant,
            key.digest,
            entry.model_revision,
            entry.answer,
            size_of(entry),
            now_s,
            now_s + entry.ttl_s,
            now_s,
        ),
    ).lastrowid
    connection.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?)", [(row, tag) for tag in entry.tags])


def touch(connection: sqlite3.Connection, entry_id: str, now_s: float) -> None:
    """Notes that an entry was used."""
    connection.execute("UPDATE entries SET used_s = ? WHERE entry_id = ?", (now_s, entry_id))


def evict(connection: sqlite3.Connection, max_bytes: int) -> Counter[str]:
    """Removes the least recently used entries until the rest fits. Returns how many, by tenant."""
    evicted: Counter[str] = Counter()
    while totals(connection, "").size_bytes > max_bytes:
        (tenant,) = connection.execute(
            "DELETE FROM entries WHERE id = (SELECT id FROM entries ORDER BY used_s, id LIMIT 1) RETURNING tenant"
        ).fetchone()
        evicted[tenant] += 1
    return evicted


def remove(connection: sqlite3.Connection, tenant: str, selector: Selector) -> int:
    """Removes the selected entries of one tenant, and returns how many."""
    return connection.execute(
        f"DELETE FROM entries WHERE tenant = :tenant AND {_WHERE[selector.by]}",  # noqa: S608 - from the table above
        {"tenant": tenant, "value": selector.value},
    ).rowcount


def remove_expired(connection: sqlite3.Connection, now_s: float) -> int:
    """Removes what is not served any more, and returns how many."""
    return connection.execute("DELETE FROM entries WHERE expires_s <= ?", (now_s,)).rowcount


def totals(connection: sqlite3.Connection, tenant: str) -> Totals:
    """What is stored for a tenant, or for all together."""
    condition = "tenant = ?" if tenant else "? = ''"
    row = connection.execute(
        f"SELECT total(num_entries), total(size_bytes) FROM totals WHERE {condition}",  # noqa: S608 - two literals
        (tenant,),
    ).fetchone()
    return Totals(int(row[0]), int(row[1]))
