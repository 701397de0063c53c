"""Two gateways, each with a cache process of its own, over one Postgres that goes, hangs and comes back."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.cache_process import CacheProcess, environment, running
from fakes.gateway_deployment import Deployment, StartDeployment

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock.inference.v1 import inference_pb2

pytest.importorskip("pgserver", reason="no Postgres to be had: it comes with the package pgserver")
from fakes.postgres_server import PostgresServer, running_postgres

HIT, MISS, SKIPPED = (
    inference_pb2.CACHE_OUTCOME_EXACT_HIT,
    inference_pb2.CACHE_OUTCOME_MISS,
    inference_pb2.CACHE_OUTCOME_SKIPPED,
)


@dataclass
class Instance:
    """A gateway and its cache."""

    gateway: Deployment
    cache: CacheProcess

    async def ask(self, prompt: str) -> int:
        """What the cache did for a greedy request, which was answered rightly whatever that was."""
        answer = await self.gateway.complete(prompt, sampling={"temperature": 0})
        assert answer.choices[0].output.text == "Hello, world"
        return answer.started.cache.outcome

    async def until(self, prompt: str, outcome: int) -> None:
        """Asks until the cache does what is wanted; each time there is an answer."""
        async with asyncio.timeout(60):
            while await self.ask(prompt) != outcome:
                pass

    async def until_kept(self, num_entries: int) -> None:
        """Waits until so many answers are kept, whoever put them."""
        stub = cache_pb2_grpc.CacheServiceStub(self.cache.channel)
        async with asyncio.timeout(10):
            while (await stub.GetStats(cache_pb2.GetStatsRequest())).num_entries != num_entries:
                pass


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    with running_postgres() as server:
        yield server


@pytest.fixture
async def instances(
    start: StartDeployment, postgres: PostgresServer, tmp_path: Path
) -> AsyncIterator[tuple[Instance, Instance]]:
    """Two, with time for their lookups that a busy machine needs."""
    async with AsyncExitStack() as stack:
        variables = environment(tmp_path, PENSTOCK_CACHE_POSTGRES_URL=postgres.url)
        caches = [await stack.enter_async_context(running(variables)) for _ in range(2)]
        one, other = [Instance(await start(cache_address=each.address, cache_budget_s=3), each) for each in caches]
        yield one, other
        assert [cache.process.returncode for cache in caches] == [None, None], "nobody had to be started again"


async def test_gateways_share_answers_and_go_on_without_while_postgres_is_away(
    instances: tuple[Instance, Instance], postgres: PostgresServer
) -> None:
    """A put through one is a hit through the other; without Postgres all is answered, and with it hits come back."""
    one, other = instances
    assert await one.ask("first") == MISS
    await other.until_kept(1)
    assert await other.ask("first") == HIT
    assert other.gateway.workers[0].groups == []
    postgres.stop()
    for each in instances:
        assert [await each.ask("first") for _ in range(8)] == [SKIPPED] * 8
    postgres.start()
    for each in instances:
        await each.until("first", HIT)
    with postgres.frozen():
        assert await asyncio.gather(*(each.ask("first") for each in instances)) == [SKIPPED, SKIPPED]
    for each in instances:
        await each.until("first", HIT)
    assert await other.ask("second") == MISS
    await one.until_kept(2)
    assert await one.ask("second") == HIT
