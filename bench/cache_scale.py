"""What the cache's store costs when it is large: memory, disk, latencies and insertion rate, in this very process.

python bench/cache_scale.py 100000 200000
python bench/cache_scale.py 100000 --postgres postgresql:///cache   # the database is written to
"""

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from penstock_cache.database import Database
from penstock_cache.database_store import DatabaseStore
from penstock_cache.entries import ExactKey, NewEntry, PromptScope, SemanticPart
from penstock_cache.semantic.graph_files import GraphFiles
from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.sqlite_database import SqliteDatabase
from penstock_cache.store import Store

_DIMENSION = 384
_NUM_TOPICS = 2_000
_ANSWER_BYTES = 1_000
_DETAIL_BYTES = 2_000
_CONCURRENCY = 64
_NUM_LOOKUPS = 1_000
_NUM_CHECKED = 200
_LIMIT = 8
_SCOPE = PromptScope("bench", bytes(32), "encoder")


class Prompts:
    """Prompts about topics, as real ones are: each near to some and far from most."""

    def __init__(self) -> None:
        self._topics = np.random.default_rng(0).standard_normal((_NUM_TOPICS, _DIMENSION)).astype(np.float32)

    def vector(self, number: int) -> NDArray[np.float32]:
        """The vector of a numbered prompt; numbers below zero are asked for and never stored."""
        drawn = np.random.default_rng(number + 2**32)
        vector = self._topics[drawn.integers(_NUM_TOPICS)] + 0.6 * drawn.standard_normal(_DIMENSION)
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    def entry(self, number: int) -> NewEntry:
        """A numbered entry."""
        prompt = EncodedPrompt(f"prompt {number}", self.vector(number), bytes(_DETAIL_BYTES))
        part = SemanticPart(_SCOPE.context_digest, prompt, _SCOPE.encoder_fingerprint)
        return NewEntry(key(number), "r", bytes(_ANSWER_BYTES), 1e6, (), 200, part)


def key(number: int) -> ExactKey:
    """Of a numbered entry."""
    return ExactKey(_SCOPE.tenant, (number + 2**32).to_bytes(32))


async def fill(store: Store, prompts: Prompts, numbers: range) -> float:
    """Stores entries, some at once; returns entries per second, with what it takes to make them."""
    begin_s = time.perf_counter()
    waiting = iter(numbers)

    async def lane(mine: Iterator[int]) -> None:
        for number in mine:
            assert await store.put(prompts.entry(number)) is not None

    await asyncio.gather(*(lane(waiting) for _ in range(_CONCURRENCY)))
    return len(numbers) / (time.perf_counter() - begin_s)


async def latency(call: Callable[[int], Awaitable[object]]) -> str:
    """Of calls one after the other, with numbers to call by."""
    durations_ms = []
    for number in np.random.default_rng(2).integers(2**31, size=_NUM_LOOKUPS).tolist():
        begin_s = time.perf_counter()
        await call(number)
        durations_ms.append((time.perf_counter() - begin_s) * 1e3)
    p50, p99 = np.percentile(durations_ms, [50, 99])
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"


async def recall(store: Store, prompts: Prompts, size: int) -> float:
    """The share of the truly nearest that are found."""
    stored = np.stack([prompts.vector(number) for number in range(size)])
    num_found = 0
    for number in range(-_NUM_CHECKED, 0):
        query = prompts.vector(number)
        truth = {f"prompt {row}" for row in np.argsort(-(stored @ query))[:_LIMIT]}
        num_found += len(truth & {each.prompt.text for each in await store.neighbours(_SCOPE, query, _LIMIT)})
    return num_found / (_NUM_CHECKED * _LIMIT)


async def measure(store: Store, prompts: Prompts, size: int) -> None:
    """Prints what lookups cost now."""
    await store.neighbours(_SCOPE, prompts.vector(-1), _LIMIT)
    print(f"  hit by key    {await latency(lambda number: store.lookup(key(number % size)))}")
    print(f"  miss by key   {await latency(lambda number: store.lookup(key(-1 - number)))}")
    found = await latency(lambda number: store.neighbours(_SCOPE, prompts.vector(-1 - number), _LIMIT))
    print(f"  {_LIMIT} neighbours  {found}")


async def run(open_database: Callable[[], Database], directory: Path | None, sizes: list[int]) -> None:
    """Grows one store and measures it at each size."""
    prompts, filled = Prompts(), 0
    for size in sizes:
        async with opened(open_database) as store:
            print(f"{size} entries")
            print(f"  inserts       {await fill(store, prompts, range(filled, size)):.0f}/s, {_CONCURRENCY} at once")
            filled = size
        begin_s = time.perf_counter()
        async with opened(open_database) as store:
            await store.neighbours(_SCOPE, prompts.vector(-1), _LIMIT)
            print(f"  start         {time.perf_counter() - begin_s:.1f} s to the first neighbours")
            await settle(store)
            print(f"  index made    {time.perf_counter() - begin_s:.1f} s after the start")
            await measure(store, prompts, size)
            print(f"  memory        {resident_mb():.0f} MB of the process")
            print(f"  recall        {await recall(store, prompts, size):.4f} of the {_LIMIT} nearest")
        if directory is not None:
            print(
                f"  disk          {size_mb(directory, '*.db*'):.0f} MB, indexes {size_mb(directory, '*.graph'):.0f} MB"
            )


@asynccontextmanager
async def opened(open_database: Callable[[], Database]) -> AsyncIterator[DatabaseStore]:
    """A store whose budget is no matter."""
    database = open_database()
    store = DatabaseStore(database, max_bytes=1 << 50, max_pending=256, wall_clock=time.time)
    try:
        yield store
    finally:
        await asyncio.to_thread(store.close)


async def settle(store: DatabaseStore) -> None:
    """Waits until indexes are made."""
    index = getattr(store._database, "_index", None)  # noqa: SLF001 - nobody else needs to know
    if index is not None:
        await asyncio.wrap_future(index._makers.submit(lambda: None))  # noqa: SLF001


def resident_mb() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def size_mb(directory: Path, pattern: str) -> float:
    """Of files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob(pattern) if path.is_file()) / 1e6


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="+", type=int, help="numbers of entries, rising")
    parser.add_argument(
        "--postgres", metavar="URL", help="a database with pgvector; without it SQLite, in a new folder"
    )
    parser.add_argument("--exact", action="store_true", help="compare every vector, without an index")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:

        def open_database() -> Database:
            if arguments.postgres:
                from penstock_cache.postgres.database import PostgresDatabase  # noqa: PLC0415

                return PostgresDatabase(arguments.postgres, num_readers=2, max_writes=512)
            make_graphs = None if arguments.exact else GraphFiles
            return SqliteDatabase(Path(folder) / "cache.db", num_readers=2, max_writes=512, make_graphs=make_graphs)

        asyncio.run(run(open_database, None if arguments.postgres else Path(folder), arguments.sizes))


if __name__ == "__main__":
    main()
