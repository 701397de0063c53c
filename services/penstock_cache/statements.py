"""What is asked of the database about entries, each a short function over one connection.

Times are in seconds since the epoch.
"""
# ruff: noqa: S608 - every part of a statement is a literal of this file

from collections import Counter
from collections.abc import Iterable, Mapping

from penstock_cache import prompt_statements
from penstock_cache.admission import Resident
from penstock_cache.connection import Connection, Rows
from penstock_cache.entries import (
    ExactKey,
    ExportedEntry,
    NewEntry,
    PromptScope,
    SelectBy,
    Selector,
    StoredEntry,
    Totals,
)
from penstock_cache.prompt_changes import PromptChange, RemovedPrompt
from penstock_cache.prompt_statements import StoredPrompt

# Rows of the tables and their indexes beside the answer itself, measured on small answers.
OVERHEAD_BYTES = 512
_PROMPT_OVERHEAD_BYTES = 160
# Where one has to go, the one that was asked for least lately among so many of the least priority.
_NUM_TO_CHOOSE_FROM = 16

# By frequency, what a hit spares, and size, in the manner of GreedyDual-Size-Frequency (Cherkasova 1998): who comes or
# is used starts from the least priority there is, so that what was popular once ages as others come.
_PRIORITY = "(SELECT coalesce(min(priority), 0) FROM entries) + 1.0 * (1 + {num_uses}) * (1 + {tokens_saved}) / {size}"
_FIRST_PRIORITY = _PRIORITY.format(num_uses=":num_uses", tokens_saved=":tokens_saved", size=":size_bytes")
_NEXT_PRIORITY = _PRIORITY.format(num_uses="num_uses + :num_new", tokens_saved="tokens_saved", size="size_bytes")

_WHERE: Mapping[SelectBy, str] = {
    SelectBy.ENTRY_ID: "entry_id = :value",
    SelectBy.TAG: "entries.id IN (SELECT entry FROM tags WHERE tag = :value)",
    SelectBy.MODEL_REVISION: "model_revision = :value",
    SelectBy.ALL: "TRUE",
}


def size_of(entry: NewEntry) -> int:
    """What an entry counts for in the budget, in bytes."""
    size = len(entry.answer) + sum(len(tag.encode()) for tag in entry.tags) + OVERHEAD_BYTES
    if entry.semantic is not None:
        prompt = entry.semantic.prompt
        size += len(prompt.text.encode()) + prompt.vector.nbytes + len(prompt.detail) + _PROMPT_OVERHEAD_BYTES
    return size


def find(connection: Connection, key: ExactKey, now_s: float) -> StoredEntry | None:
    """The entry of a key, unless it has expired."""
    row = connection.execute(
        "SELECT entry_id, answer, created_s FROM entries WHERE tenant = ? AND exact_digest = ? AND expires_s > ?",
        (key.tenant, key.digest, now_s),
    ).fetchone()
    return None if row is None else StoredEntry(*row)


def find_by_id(connection: Connection, tenant: str, entry_id: str, now_s: float) -> StoredEntry | None:
    """The entry of an id, unless it has expired or is another tenant's."""
    row = connection.execute(
        "SELECT entry_id, answer, created_s FROM entries WHERE entry_id = ? AND tenant = ? AND expires_s > ?",
        (entry_id, tenant, now_s),
    ).fetchone()
    return None if row is None else StoredEntry(*row)


def insert(connection: Connection, new: ExportedEntry, entry_id: str, changes: list[PromptChange]) -> None:
    """Keeps an entry; there is none of the same key."""
    entry, key = new.entry, new.entry.key
    connection.execute(
        "INSERT INTO entries (entry_id, tenant, exact_digest, model_revision, answer, size_bytes, created_s, expires_s,"
        " used_s, tokens_saved, num_uses, priority) VALUES (:entry_id, :tenant, :digest, :model_revision, :answer,"
        f" :size_bytes, :created_s, :expires_s, :created_s, :tokens_saved, :num_uses, {_FIRST_PRIORITY})",
        {
            "entry_id": entry_id,
            "tenant": key.tenant,
            "digest": key.digest,
            "model_revision": entry.model_revision,
            "answer": entry.answer,
            "size_bytes": size_of(entry),
            "created_s": new.created_s,
            "expires_s": new.created_s + entry.ttl_s,
            "tokens_saved": entry.tokens_saved,
            "num_uses": new.num_uses,
        },
    )
    if entry.tags:
        connection.executemany(
            "INSERT INTO tags (entry, tag) VALUES ((SELECT id FROM entries WHERE entry_id = ?), ?)"
            " ON CONFLICT DO NOTHING",
            [(entry_id, tag) for tag in entry.tags],
        )
    if entry.semantic is not None:
        scope = PromptScope(key.tenant, entry.semantic.context_digest, entry.semantic.encoder_fingerprint)
        cluster = entry.semantic.cluster or entry_id
        prompt_statements.insert(connection, StoredPrompt(entry_id, scope, cluster, entry.semantic.prompt), changes)


def note_uses(connection: Connection, num_uses: Mapping[str, int], now_s: float) -> None:
    """Notes how often entries were used, by their ids."""
    if not num_uses:
        return
    connection.executemany(
        f"UPDATE entries SET used_s = :now_s, num_uses = num_uses + :num_new, priority = {_NEXT_PRIORITY}"
        " WHERE entry_id = :entry_id",
        [{"entry_id": entry_id, "num_new": num_new, "now_s": now_s} for entry_id, num_new in num_uses.items()],
    )


def least(connection: Connection, num_bytes: int) -> list[Resident]:
    """Entries of least priority, the least first: some to choose from, and as many as have `num_bytes` together."""
    limit = _NUM_TO_CHOOSE_FROM
    while True:
        rows = connection.execute(
            "SELECT id, tenant, exact_digest, entry_id, tokens_saved, size_bytes FROM entries"
            " ORDER BY priority, used_s, id LIMIT ?",
            (limit,),
        ).fetchall()
        if len(rows) < limit or sum(row[-1] for row in rows) >= num_bytes:
            break
        limit *= 2
    return [Resident(row, ExactKey(tenant, digest), *rest) for row, tenant, digest, *rest in rows]


def evict(connection: Connection, residents: Iterable[Resident], changes: list[PromptChange]) -> Counter[str]:
    """Removes entries that are there. Returns how many, by tenant."""
    evicted: Counter[str] = Counter()
    for resident in residents:
        _delete(connection, "entries.id = :row", {"row": resident.row}, changes)
        evicted[resident.key.tenant] += 1
    return evicted


def remove_key(connection: Connection, key: ExactKey, changes: list[PromptChange]) -> None:
    """Removes the entry of a key, if there is one."""
    values = {"tenant": key.tenant, "digest": key.digest}
    _delete(connection, "tenant = :tenant AND exact_digest = :digest", values, changes)


def remove(connection: Connection, tenant: str, selector: Selector, changes: list[PromptChange]) -> int:
    """Removes the selected entries of one tenant, and returns how many."""
    selected = {"tenant": tenant, "value": selector.value}
    return _delete(connection, f"tenant = :tenant AND {_WHERE[selector.by]}", selected, changes).rowcount


def remove_expired(connection: Connection, now_s: float, changes: list[PromptChange]) -> int:
    """Removes what is not served any more, and returns how many."""
    return _delete(connection, "expires_s <= :now_s", {"now_s": now_s}, changes).rowcount


def totals(connection: Connection, tenant: str) -> Totals:
    """What is stored for a tenant, or for all together."""
    condition = "tenant = ?" if tenant else "? = ''"
    row = connection.execute(
        f"SELECT coalesce(sum(num_entries), 0), coalesce(sum(size_bytes), 0) FROM totals WHERE {condition}",
        (tenant,),
    ).fetchone()
    return Totals(int(row[0]), int(row[1]))


def _delete(connection: Connection, where: str, values: Mapping[str, object], changes: list[PromptChange]) -> Rows:
    """Removes entries, with their tags and prompts."""
    if connection.is_followed:
        gone = connection.execute(
            f"SELECT scope, prompts.id FROM prompts JOIN entries ON entries.id = prompts.entry WHERE {where}",
            values,
        )
        changes += [RemovedPrompt(*row) for row in gone]
    return connection.execute(f"DELETE FROM entries WHERE {where}", values)
