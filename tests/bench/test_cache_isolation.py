"""The attacks of bench/cache_isolation.py, few of them, on a service whose encoder is one of words."""

import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest
from cache_isolation import Attacker, Victim, p_value, time_lookups
from fakes.semantic_layer import ObedientDecider, SemanticParts

from penstock.cache.v1 import cache_pb2_grpc
from penstock_cache.database_store import DatabaseStore
from penstock_cache.decision.candidate import Candidate
from penstock_cache.decision.decision import Decision, DecisionKind
from penstock_cache.semantic.door import SemanticDoor
from penstock_cache.service import CacheServicer
from penstock_cache.sqlite_database import SqliteDatabase
from penstock_shared.server import GrpcServer
from penstock_shared.tracing import Tracer


class _Bounded(ObedientDecider):
    """Serves where errors are accepted, else explores."""

    def decide(self, candidates: Sequence[Candidate], *, max_error_rate: float, prompt_key: bytes = b"") -> Decision:
        """By the bound alone."""
        self.kind = DecisionKind.SERVE if max_error_rate > 0.001 else DecisionKind.EXPLORE
        return super().decide(candidates, max_error_rate=max_error_rate, prompt_key=prompt_key)


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[cache_pb2_grpc.CacheServiceStub]:
    """Of a service that serves whatever is near."""
    database = SqliteDatabase(tmp_path / "cache.db", num_readers=2, max_writes=64)
    store = DatabaseStore(database, max_bytes=1 << 24, max_pending=64, wall_clock=lambda: 1000.0)
    parts = SemanticParts(store)
    parts.decider = _Bounded()
    parts.encoder.pause_s = 0.002
    door = SemanticDoor()
    door.open(parts.layer)
    server = GrpcServer(bind="127.0.0.1:0", service_names=[], tracer=Tracer("cache"))
    servicer = CacheServicer(store, door, default_ttl_s=60, max_ttl_s=600)
    cache_pb2_grpc.add_CacheServiceServicer_to_server(servicer, server.server)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield cache_pb2_grpc.CacheServiceStub(channel)
    await server.server.stop(0)
    parts.executor.shutdown()
    store.close()


async def test_no_tenant_gets_or_changes_what_another_one_has(stub: cache_pb2_grpc.CacheServiceStub) -> None:
    """With its prompts, suffixes that keep them near, its entry ids and its tokens; its own answers it gets."""
    victim = Victim(stub, 20)
    await victim.fill()
    attacker = Attacker(stub, victim, random.Random(1))
    await attacker.attack(300)
    assert attacker.attempts.leaks == []
    assert await victim.num_lost() == 0
    assert attacker.attempts.served > 50
    assert (sum(attacker.attempts.made.values()), attacker.attempts.num_tokens) == (300, 50)


async def test_time_does_not_tell_what_another_tenant_has(stub: cache_pb2_grpc.CacheServiceStub) -> None:
    """A cache of vectors that tenants share would: encoding is most of a lookup. Only a plain difference fails here."""
    timing = await time_lookups(stub, 60, random.Random(2))
    assert timing.p_value > 0.002 or abs(timing.median_known_ms - timing.median_unknown_ms) < 0.5


def test_permutations_find_a_difference_that_is_there() -> None:
    """And none that is not."""
    rng = random.Random(3)
    slow, fast = ([rng.gauss(mean, 1) for _ in range(50)] for mean in (11, 10))
    assert p_value(slow, fast, rng) < 0.01
    assert p_value(fast[:25], fast[25:], rng) > 0.05
