"""What a lookup by meaning costs: the service as a process, all-MiniLM, prompts of the development set, and busy cores.

python bench/semantic_lookup.py --entries 1000 --requests 300 --rates 4 10 --busy 2
python bench/semantic_lookup.py --prefill 100000   # besides, written straight into the store before the service starts
"""

import argparse
import asyncio
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from cache_bench.running_cache import Stub, running_cache

from penstock.cache.v1 import cache_pb2
from penstock.types.v1 import types_pb2
from penstock_cache.database_store import DatabaseStore
from penstock_cache.entries import ExactKey, NewEntry, PromptScope, SemanticPart
from penstock_cache.semantic.graph_files import GraphFiles
from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.settings import CacheSettings
from penstock_cache.sqlite_database import SqliteDatabase
from penstock_cache.wiring import load_models

# What an engine does all day, on so many threads, as nice as Ray starts it, until it is ended.
_BUSY = """
import os, sys
import torch
os.nice(15)
torch.set_num_threads(int(sys.argv[1]))
a, b = torch.randn(256, 1024), torch.randn(1024, 1024)
while True:
    a @ b
"""
_THINGS = ("order", "contract", "router", "invoice", "ticket", "refund", "parcel", "account", "card", "policy")
_CHOICE = cache_pb2.CachedChoice(text="x" * 400, finish_reason=types_pb2.FINISH_REASON_STOP)
_NUM_ENCODED = 1_000
_MAX_BYTES = 1 << 33
_REST_INTERVAL_S = 3.0
_REST_S = 0.1  # of CPU time in such an interval
_SETTINGS = {
    "PENSTOCK_CACHE_SEMANTIC": "1",
    "PENSTOCK_CACHE_SEMANTIC_BUDGET_S": "1",  # to see what is over the usual budget
    "PENSTOCK_CACHE_MAX_BYTES": str(_MAX_BYTES),
}
_ASKS = (
    "How do I cancel my {} of number {}?",
    "What does {} {} cost per month?",
    "Please explain to me what happens with {} {} after it has expired",
    "{} {} is broken, what steps should I take to get a new one?",
)


def prompt(number: int, rng: random.Random) -> str:
    """One of many, of 8 to 16 tokens."""
    return rng.choice(_ASKS).format(rng.choice(_THINGS), number)


def key(text: str) -> cache_pb2.CacheKey:
    """The key of a prompt."""
    digest = hashlib.sha256(text.encode()).digest()
    return cache_pb2.CacheKey(tenant="bench", exact_digest=digest, context_digest=bytes(32), prompt=text, model="m")


@contextmanager
def busy_cores(num_threads: int) -> Iterator[None]:
    """A process that computes without a pause, in a session of its own as each service of a stack."""
    if not num_threads:
        yield
        return
    process = subprocess.Popen((sys.executable, "-c", _BUSY, str(num_threads)), start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def look_up(stub: Stub, text: str) -> tuple[float, cache_pb2.LookupResponse]:
    """The response, and how long it took in milliseconds."""
    begin_s = time.perf_counter()
    response = await stub.Lookup(cache_pb2.LookupRequest(key=key(text), max_error_rate=0.01))
    return (time.perf_counter() - begin_s) * 1e3, response


async def fill(stub: Stub, texts: list[str]) -> float:
    """Stores an answer to each prompt; answers per second."""
    answer = cache_pb2.CachedAnswer(choices=[_CHOICE], model_revision="r")
    begin_s = time.perf_counter()
    for text in texts:
        await stub.Put(cache_pb2.PutRequest(key=key(text), answer=answer))
    return len(texts) / (time.perf_counter() - begin_s)


async def prefill(state_dir: Path, count: int, rng: random.Random) -> None:
    """Stores so many prompts without the service: a thousand that are encoded, and others around them."""
    encoder, _ = load_models(CacheSettings())
    texts = [prompt(10**6 + number, rng) for number in range(min(count, _NUM_ENCODED))]
    encoded = [each for first in range(0, len(texts), 8) for each in encoder.run(texts[first : first + 8])]
    drawn = np.random.default_rng(0)
    database = SqliteDatabase(state_dir / "cache.db", num_readers=2, max_writes=512, make_graphs=GraphFiles)
    store = DatabaseStore(database, max_bytes=_MAX_BYTES, max_pending=256, wall_clock=time.time)
    answer = cache_pb2.CachedAnswer(choices=[_CHOICE], model_revision="r").SerializeToString()

    async def lane(numbers: Iterator[int]) -> None:
        for number in numbers:
            like = encoded[number % len(encoded)]
            assert isinstance(like, EncodedPrompt)
            noise = drawn.standard_normal(like.vector.shape, np.float32)
            vector = like.vector + 0.6 * noise / np.linalg.norm(noise)
            near = EncodedPrompt(f"{like.text} {number}", vector / np.linalg.norm(vector), like.detail)
            part = SemanticPart(bytes(32), near, encoder.fingerprint)
            digest = hashlib.sha256(near.text.encode()).digest()
            await store.put(NewEntry(ExactKey("bench", digest), "r", answer, 86400.0, (), 80, part))

    numbers = iter(range(count))
    await asyncio.gather(*(lane(numbers) for _ in range(64)))
    await store.neighbours(PromptScope("bench", bytes(32), encoder.fingerprint), encoded[0].vector, 8)
    # A graph that is still being made is given up at the end, and the service would make it while it is measured.
    await asyncio.wrap_future(database._index._makers.submit(lambda: None))  # noqa: SLF001
    await asyncio.to_thread(store.close)


async def at_rest(process: psutil.Process) -> None:
    """Waits until the service has nothing left to do, such as vectors to read and indexes to make."""
    before_s, used_s = cpu_s(process), 1.0
    while used_s > _REST_S:
        await asyncio.sleep(_REST_INTERVAL_S)
        before_s, used_s = cpu_s(process), cpu_s(process) - before_s


async def paced_lookups(
    stub: Stub, texts: list[str], rate: float, rng: random.Random
) -> list[tuple[float, cache_pb2.LookupResponse]]:
    """One lookup a text, at random moments, whatever the earlier ones do."""
    running = []
    for text in texts:
        running.append(asyncio.create_task(look_up(stub, text)))
        await asyncio.sleep(rng.expovariate(rate))
    return await asyncio.gather(*running)


def cpu_s(process: psutil.Process) -> float:
    """What the service has computed, all threads together."""
    times = process.cpu_times()
    return float(times.user + times.system)


def report(name: str, results: list[tuple[float, cache_pb2.LookupResponse]], used_s: float) -> None:
    """Percentiles, the service's own work, and what the lookups came to."""
    latencies = sorted(latency for latency, _ in results)
    p50, p90, p99 = (latencies[min(len(latencies) - 1, int(len(latencies) * share))] for share in (0.5, 0.9, 0.99))
    outcomes = Counter(
        cache_pb2.LookupOutcome.Name(each.outcome).removeprefix("LOOKUP_OUTCOME_") for _, each in results
    )
    cpu_ms = 1e3 * used_s / len(results)
    print(f"{name:28} p50 {p50:6.1f} ms  p90 {p90:6.1f}  p99 {p99:6.1f}  CPU {cpu_ms:5.1f}  {dict(outcomes)}")


async def main(arguments: argparse.Namespace) -> None:
    """Fills, measures on idle and on busy cores, exact and by meaning."""
    rng = random.Random(arguments.seed)
    stored = [prompt(number, rng) for number in range(arguments.entries)]
    with tempfile.TemporaryDirectory() as state_dir:
        if arguments.prefill:
            begin_s = time.perf_counter()
            await prefill(Path(state_dir), arguments.prefill, rng)
            print(f"{arguments.prefill} entries written in {time.perf_counter() - begin_s:.0f} s")
        async with running_cache(state_dir, _SETTINGS) as (stub, process_id):
            process = psutil.Process(process_id)
            puts_per_s = await fill(stub, stored)
            print(f"{arguments.prefill + len(stored)} entries, {puts_per_s:.0f} puts/s one after the other")
            await look_up(stub, prompt(10**7, rng))  # has the vectors read
            await at_rest(process)
            for num_busy in (0, arguments.busy):
                with busy_cores(num_busy):
                    await asyncio.sleep(5 if num_busy else 0)  # until they have imported and compute
                    for rate in arguments.rates:
                        again = [rng.choice(stored) for _ in range(arguments.requests)]
                        new = [prompt(rng.randrange(10**6), rng) for _ in range(arguments.requests)]
                        for name, texts in (("exact", again), ("by meaning", new)):
                            begin_s = cpu_s(process)
                            results = await paced_lookups(stub, texts, rate, rng)
                            report(f"{name}, {rate:g}/s, {num_busy} busy", results, cpu_s(process) - begin_s)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1000, help="prompts that are stored")
    parser.add_argument("--prefill", type=int, default=0, help="prompts that are stored before the service starts")
    parser.add_argument("--requests", type=int, default=300, help="lookups of each kind")
    parser.add_argument("--rates", type=float, nargs="+", default=[10.0], help="lookups a second, at random moments")
    parser.add_argument("--busy", type=int, default=2, help="threads of a process that computes beside it")
    parser.add_argument("--seed", type=int, default=0)
    asyncio.run(main(parser.parse_args()))
