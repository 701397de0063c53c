"""The nearest prompts of a scope: the index names them, the database says what they are."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from penstock_cache import prompt_statements
from penstock_cache.connection import Connection
from penstock_cache.entries import Neighbour, PromptScope
from penstock_cache.prompt_changes import RemovedPrompt
from penstock_cache.semantic.vector_index import VectorIndex

_MAX_ROUNDS = 8


class PromptSearch:
    """Searches the prompts of a database.

    The index is never believed: scope, life and similarity come from the database, so that an index that is wrong can
    miss a prompt, but show none that is another tenant's.

    Args:
        index: follows the database.
    """

    def __init__(self, index: VectorIndex) -> None:
        self._index = index

    def neighbours(
        self, connection: Connection, scope: PromptScope, vector: NDArray[np.float32], limit: int, now_s: float
    ) -> list[Neighbour]:
        """The nearest prompts of a scope whose answers have not expired, nearest first."""
        row = prompt_statements.find_scope(connection, scope)
        if row is None:
            return []
        read = partial(prompt_statements.vectors_of, connection)
        found: dict[int, Neighbour] = {}
        for _ in range(_MAX_ROUNDS):
            names = self._index.search(row, vector, limit, read)
            found = prompt_statements.neighbours(connection, row, names, vector, now_s)
            gone = [RemovedPrompt(row, name) for name in names if name not in found]
            if not gone:
                break
            # Expired since the last sweep: nobody will be shown it any more, and its place belongs to the next one.
            self._index.apply(gone)
        return sorted(found.values(), key=lambda neighbour: -neighbour.similarity)[:limit]
