"""The nearest prompts of a scope, by pgvector."""

import numpy as np
from numpy.typing import NDArray

from penstock_cache.entries import Neighbour, PromptScope
from penstock_cache.postgres.connection import PostgresConnection
from penstock_cache.semantic.prompts import EncodedPrompt


def neighbours(
    connection: PostgresConnection, scope: PromptScope, vector: NDArray[np.float32], limit: int, now_s: float
) -> list[Neighbour]:
    """The nearest prompts of a scope whose answers have not expired, nearest first."""
    rows = connection.execute(
        "SELECT entry_id, cluster, created_s, text, vector, detail"
        " FROM scopes JOIN prompts ON prompts.scope = scopes.id JOIN entries ON entries.id = prompts.entry"
        " WHERE scopes.tenant = :tenant AND context_digest = :context_digest"
        " AND encoder_fingerprint = :encoder_fingerprint AND expires_s > :now_s"
        " ORDER BY vector <#> :vector LIMIT :limit",
        {
            "tenant": scope.tenant,
            "context_digest": scope.context_digest,
            "encoder_fingerprint": scope.encoder_fingerprint,
            "now_s": now_s,
            "vector": connection.to_column(vector),
            "limit": limit,
        },
    )
    found = []
    for entry_id, cluster, created_s, text, stored, detail in rows:
        prompt = EncodedPrompt(text.decode(), connection.to_vector(stored), detail)
        found.append(Neighbour(entry_id, cluster, float(prompt.vector @ vector), created_s, prompt))
    return found
