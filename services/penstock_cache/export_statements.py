"""What is asked of the database when entries leave it whole, or come back."""

from typing import Any

from penstock_cache.connection import Connection
from penstock_cache.entries import ExactKey, ExportedEntry, NewEntry, SemanticPart
from penstock_cache.semantic.prompts import EncodedPrompt


def page(connection: Connection, tenant: str, after: int, limit: int, now_s: float) -> list[tuple[int, ExportedEntry]]:
    """Entries of a tenant that have not expired, in the order of their rows, each with its row."""
    rows = connection.execute(
        "SELECT entries.id, exact_digest, model_revision, answer, created_s, expires_s, tokens_saved, num_uses,"
        " context_digest, encoder_fingerprint, cluster, text, vector, detail"
        " FROM entries LEFT JOIN prompts ON prompts.entry = entries.id LEFT JOIN scopes ON scopes.id = scope"
        " WHERE entries.tenant = ? AND entries.id > ? AND expires_s > ? ORDER BY entries.id LIMIT ?",
        (tenant, after, now_s, limit),
    ).fetchall()
    return [(row[0], _exported(connection, tenant, row)) for row in rows]


def is_older(connection: Connection, exported: ExportedEntry) -> bool:
    """Whether there is an entry of the same key that is as new."""
    key = exported.entry.key
    row = connection.execute(
        "SELECT 1 FROM entries WHERE tenant = ? AND exact_digest = ? AND created_s >= ?",
        (key.tenant, key.digest, exported.created_s),
    ).fetchone()
    return row is not None


def _exported(connection: Connection, tenant: str, row: tuple[Any, ...]) -> ExportedEntry:
    number, digest, model_revision, answer, created_s, expires_s, tokens_saved, num_uses, *prompt = row
    tags = connection.execute("SELECT tag FROM tags WHERE entry = ? ORDER BY tag", (number,))
    entry = NewEntry(
        key=ExactKey(tenant, digest),
        model_revision=model_revision,
        answer=answer,
        ttl_s=expires_s - created_s,
        tags=tuple(tag for (tag,) in tags),
        tokens_saved=tokens_saved,
        semantic=None if prompt[0] is None else _semantic(connection, prompt),
    )
    return ExportedEntry(entry, created_s, num_uses)


def _semantic(connection: Connection, row: list[Any]) -> SemanticPart:
    context_digest, encoder_fingerprint, cluster, text, vector, detail = row
    return SemanticPart(
        context_digest, EncodedPrompt(text.decode(), connection.to_vector(vector), detail), encoder_fingerprint, cluster
    )
