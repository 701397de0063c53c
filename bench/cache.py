"""What the cache service costs: a real process over loopback gRPC, a store of 10,000 answers of 200 tokens.

python bench/cache.py
"""

import asyncio
import hashlib
import random
import tempfile
import time
from collections.abc import Callable

from cache_bench.running_cache import Stub, running_cache

from penstock.cache.v1 import cache_pb2
from penstock.types.v1 import types_pb2

_NUM_ENTRIES = 10_000
_NUM_LOOKUPS = 3_000
_CONCURRENCY = 32
_ANSWER = cache_pb2.CachedAnswer(
    choices=[cache_pb2.CachedChoice(text="x" * 800, token_ids=range(200), finish_reason=types_pb2.FINISH_REASON_STOP)],
    model_revision="r",
)

MakeKey = Callable[[], cache_pb2.CacheKey]


def key(name: object) -> cache_pb2.CacheKey:
    """A key of its own for each name."""
    return cache_pb2.CacheKey(tenant="bench", exact_digest=hashlib.sha256(str(name).encode()).digest())


async def fill(stub: Stub) -> float:
    """Stores all answers, some at once; returns answers per second."""
    begin_s = time.perf_counter()
    for first in range(0, _NUM_ENTRIES, _CONCURRENCY):
        names = range(first, min(first + _CONCURRENCY, _NUM_ENTRIES))
        await asyncio.gather(*(stub.Put(cache_pb2.PutRequest(key=key(name), answer=_ANSWER)) for name in names))
    return _NUM_ENTRIES / (time.perf_counter() - begin_s)


async def latencies_ms(stub: Stub, make_key: MakeKey) -> list[float]:
    """Durations of lookups one after the other, sorted."""
    found = []
    for _ in range(_NUM_LOOKUPS):
        begin_s = time.perf_counter()
        await stub.Lookup(cache_pb2.LookupRequest(key=make_key()))
        found.append((time.perf_counter() - begin_s) * 1e3)
    return sorted(found)


async def lookups_per_s(stub: Stub, make_key: MakeKey) -> float:
    """How many are answered when some are always under way."""
    begin_s = time.perf_counter()

    async def lane() -> None:
        for _ in range(_NUM_LOOKUPS // _CONCURRENCY):
            await stub.Lookup(cache_pb2.LookupRequest(key=make_key()))

    await asyncio.gather(*(lane() for _ in range(_CONCURRENCY)))
    return _NUM_LOOKUPS / (time.perf_counter() - begin_s)


async def main() -> None:
    """Prints the figures."""
    randomness = random.Random(1)

    def present() -> cache_pb2.CacheKey:
        return key(randomness.randrange(_NUM_ENTRIES))

    def absent() -> cache_pb2.CacheKey:
        return key(randomness.random())

    with tempfile.TemporaryDirectory() as state_dir:
        async with running_cache(state_dir, {"PENSTOCK_CACHE_SEMANTIC": "0"}) as (stub, _):
            print(f"put, {_CONCURRENCY} at once: {await fill(stub):.0f} answers/s")
            for name, make_key in (("hit", present), ("miss", absent)):
                found = await latencies_ms(stub, make_key)
                p50, p99 = (found[int(len(found) * share)] for share in (0.5, 0.99))
                print(f"{name}: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
            print(f"hits, {_CONCURRENCY} at once: {await lookups_per_s(stub, present):.0f} lookups/s")


if __name__ == "__main__":
    asyncio.run(main())
