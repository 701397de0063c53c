"""A process that writes to a store of SQLite as fast as it can, and says what it was told is stored: to be killed.

python -m fakes.busy_store PATH FIRST
"""

import asyncio
import hashlib
import sys
import time
from pathlib import Path

import numpy as np

from penstock_cache.database_store import DatabaseStore
from penstock_cache.decision.label import Label
from penstock_cache.entries import ExactKey, NewEntry, PromptScope, SemanticPart
from penstock_cache.semantic.graph_files import GraphFiles
from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.sqlite_database import SqliteDatabase

SCOPE = PromptScope("acme", bytes(32), "encoder")
_DIMENSION = 64
_NUM_LANES = 8
# Small, so that graphs are made, changed and saved all the time.
_MIN_GRAPH_SIZE = 60


def open_store(path: Path) -> DatabaseStore:
    """With room for all that a test writes."""
    database = SqliteDatabase(
        path, num_readers=2, max_writes=64, make_graphs=GraphFiles, min_graph_size=_MIN_GRAPH_SIZE
    )
    return DatabaseStore(database, max_bytes=1 << 30, max_pending=64, wall_clock=time.time)


def key(number: int) -> ExactKey:
    """Of a numbered entry."""
    return ExactKey("acme", number.to_bytes(32))


def answer(number: int) -> bytes:
    """Several pages that hang together, so that a torn one is told from a whole one."""
    return hashlib.shake_256(number.to_bytes(8)).digest(10_000)


def prompt(number: int) -> EncodedPrompt:
    """A prompt of its own for each number."""
    vector = np.random.default_rng(number).standard_normal(_DIMENSION).astype(np.float32)
    return EncodedPrompt(f"prompt {number}", vector / np.float32(np.linalg.norm(vector)), answer(number)[:100])


def entry(number: int) -> NewEntry:
    """A numbered entry."""
    part = SemanticPart(SCOPE.context_digest, prompt(number), SCOPE.encoder_fingerprint)
    return NewEntry(key(number), "r1", answer(number), 1000.0, ("tag",), 10, part)


async def main() -> None:
    """Writes until it is killed."""
    path, first = Path(sys.argv[1]), int(sys.argv[2])
    store = open_store(path)

    async def lane(number: int) -> None:
        while True:
            assert await store.put(entry(number)) is not None
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()
            await store.neighbours(SCOPE, prompt(number).vector, 4)
            await store.add_label("acme", "m", Label("c", 0.0, is_correct=True, propensity=1.0, time_s=number))
            if number % 50 == 0:
                await store.sweep()
            number += _NUM_LANES

    await asyncio.gather(*(lane(first + number) for number in range(_NUM_LANES)))


if __name__ == "__main__":
    asyncio.run(main())
