"""What is asked of the database about prompts and their vectors."""
# ruff: noqa: S608 - only marks for values are put into a statement

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from penstock_cache import encoder_statements
from penstock_cache.connection import Connection
from penstock_cache.entries import Neighbour, PromptScope, StalePrompt
from penstock_cache.prompt_changes import AddedPrompt, PromptChange, RemovedPrompt
from penstock_cache.semantic.prompts import EncodedPrompt

_SCOPE = (
    "SELECT id FROM scopes"
    " WHERE tenant = :tenant AND context_digest = :context_digest AND encoder_fingerprint = :encoder_fingerprint"
)


@dataclass(frozen=True, slots=True)
class StoredPrompt:
    """A prompt and where it belongs; `entry_id` names its answer."""

    entry_id: str
    scope: PromptScope
    cluster: str
    prompt: EncodedPrompt


def insert(connection: Connection, new: StoredPrompt, changes: list[PromptChange]) -> None:
    """Keeps the prompt of an entry."""
    scope, prompt = asdict(new.scope), new.prompt
    connection.execute(
        "INSERT INTO scopes (tenant, context_digest, encoder_fingerprint)"
        f" SELECT :tenant, :context_digest, :encoder_fingerprint WHERE NOT EXISTS ({_SCOPE})",
        scope,
    )
    rows = connection.execute(
        "INSERT INTO prompts (entry, scope, cluster, text, vector, detail) VALUES"
        f" ((SELECT id FROM entries WHERE entry_id = :entry_id), ({_SCOPE}), :cluster, :text, :vector, :detail)"
        " RETURNING scope, id",
        scope
        | {
            "entry_id": new.entry_id,
            "cluster": new.cluster,
            "text": prompt.text.encode(),
            "vector": connection.to_column(prompt.vector),
            "detail": prompt.detail,
        },
    )
    if connection.is_followed:
        row, name = rows.fetchone()
        changes.append(AddedPrompt(row, name, prompt.vector))


def database_id(connection: Connection) -> str:
    """Names this database and no other."""
    (name,) = connection.execute("SELECT database_id FROM identity").fetchone()
    return str(name)


def scopes(connection: Connection) -> set[int]:
    """The rows of all scopes."""
    return {row for (row,) in connection.execute("SELECT id FROM scopes")}


def find_scope(connection: Connection, scope: PromptScope) -> int | None:
    """The row of a scope."""
    row = connection.execute(_SCOPE, asdict(scope)).fetchone()
    return None if row is None else int(row[0])


def vectors_of(connection: Connection, scope: int) -> tuple[list[int], NDArray[np.float32]]:
    """The ids of a scope's prompts, and their vectors, float32 [number of prompts, dimension]."""
    rows = connection.execute("SELECT id, vector FROM prompts WHERE scope = ?", (scope,)).fetchall()
    vectors = [connection.to_vector(vector) for _, vector in rows]
    return [name for name, _ in rows], np.array(vectors, np.float32).reshape(len(rows), -1 if rows else 0)


def neighbours(
    connection: Connection, scope: int, prompts: Sequence[int], vector: NDArray[np.float32], now_s: float
) -> dict[int, Neighbour]:
    """Those of the prompts that are in the scope and whose answers have not expired, by their ids."""
    rows = connection.execute(
        "SELECT prompts.id, entry_id, cluster, created_s, text, vector, detail FROM prompts"
        " JOIN entries ON entries.id = prompts.entry"
        f" WHERE prompts.id IN ({','.join('?' * len(prompts))}) AND scope = ? AND expires_s > ?",
        (*prompts, scope, now_s),
    )
    found = {}
    for name, entry_id, cluster, created_s, text, stored, detail in rows:
        prompt = EncodedPrompt(text.decode(), connection.to_vector(stored), detail)
        found[name] = Neighbour(entry_id, cluster, float(prompt.vector @ vector), created_s, prompt)
    return found


def stale(connection: Connection, encoder_fingerprint: str, limit: int) -> list[StalePrompt]:
    """Prompts that another encoder has encoded; none where that one has taken over."""
    if not encoder_statements.is_present(connection, encoder_fingerprint):
        return []
    rows = connection.execute(
        "SELECT prompts.id, text FROM scopes JOIN prompts ON scope = scopes.id WHERE encoder_fingerprint != ? LIMIT ?",
        (encoder_fingerprint, limit),
    )
    return [StalePrompt(prompt_id, text.decode()) for prompt_id, text in rows]


def num_stale(connection: Connection, tenant: str, encoder_fingerprint: str) -> int:
    """How many prompts of a tenant, or of all where `tenant` is empty, another encoder has encoded."""
    (count,) = connection.execute(
        "SELECT count(*) FROM scopes JOIN prompts ON scope = scopes.id"
        " WHERE encoder_fingerprint != :encoder_fingerprint AND (scopes.tenant = :tenant OR :tenant = '')",
        {"encoder_fingerprint": encoder_fingerprint, "tenant": tenant},
    ).fetchone()
    return int(count)


def replace(
    connection: Connection,
    encoder_fingerprint: str,
    encoded: Sequence[tuple[int, EncodedPrompt]],
    changes: list[PromptChange],
) -> int:
    """Moves prompts to the scope of another encoder, under new ids; returns how many were there to be moved.

    None is, where another encoder has taken over meanwhile.
    """
    if not encoder_statements.is_present(connection, encoder_fingerprint):
        return 0
    num_replaced = 0
    for name, prompt in encoded:
        row = connection.execute(
            "SELECT entry_id, scope, cluster, scopes.tenant, context_digest FROM prompts"
            " JOIN scopes ON scopes.id = scope JOIN entries ON entries.id = entry WHERE prompts.id = ?",
            (name,),
        ).fetchone()
        if row is None:
            continue
        entry_id, old_scope, cluster, tenant, context_digest = row
        connection.execute("DELETE FROM prompts WHERE id = ?", (name,))
        changes.append(RemovedPrompt(old_scope, name))
        scope = PromptScope(tenant, context_digest, encoder_fingerprint)
        insert(connection, StoredPrompt(entry_id, scope, cluster, prompt), changes)
        num_replaced += 1
    return num_replaced


def remove_empty_scopes(connection: Connection) -> None:
    """Forgets scopes without prompts."""
    connection.execute("DELETE FROM scopes WHERE NOT EXISTS (SELECT 1 FROM prompts WHERE scope = scopes.id)")
