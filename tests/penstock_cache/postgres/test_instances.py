"""Two instances of the service over one Postgres, each with a semantic layer of its own."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc
import pytest
from fakes.cache_entries import OpenStore
from fakes.semantic_layer import SemanticParts

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock.types.v1 import types_pb2
from penstock_cache.decision.decision import DecisionKind
from penstock_cache.semantic.door import SemanticDoor
from penstock_cache.service import CacheServicer
from penstock_shared.server import GrpcServer
from penstock_shared.tracing import Tracer

pytestmark = pytest.mark.parametrize("open_store", ["postgres"], indirect=True)


@dataclass
class Instance:
    """A client of an instance, and its layer's parts."""

    stub: cache_pb2_grpc.CacheServiceStub
    parts: SemanticParts

    async def look_up(self, prompt: str) -> cache_pb2.LookupResponse:
        """By meaning."""
        return await self.stub.Lookup(cache_pb2.LookupRequest(key=key(prompt), max_error_rate=0.1))

    async def put(self, prompt: str, text: str, token: bytes = b"") -> cache_pb2.PutResponse:
        """Keeps an answer."""
        choice = cache_pb2.CachedChoice(text=text, finish_reason=types_pb2.FINISH_REASON_STOP)
        answer = cache_pb2.CachedAnswer(choices=[choice], model_revision="r1")
        return await self.stub.Put(cache_pb2.PutRequest(key=key(prompt), answer=answer, exploration_token=token))


def key(prompt: str) -> cache_pb2.CacheKey:
    """Of a prompt in the one context."""
    digest = prompt.encode().ljust(32)[:32]
    return cache_pb2.CacheKey(tenant="acme", exact_digest=digest, context_digest=bytes(32), prompt=prompt, model="m")


@pytest.fixture
async def instances(open_store: OpenStore) -> AsyncIterator[tuple[Instance, Instance]]:
    """Both with nothing stored."""
    async with AsyncExitStack() as stack:

        async def start() -> Instance:
            store, door = open_store(), SemanticDoor()
            parts = SemanticParts(store)
            door.open(parts.layer)
            server = GrpcServer(bind="127.0.0.1:0", service_names=[], tracer=Tracer("cache"))
            servicer = CacheServicer(store, door, default_ttl_s=60, max_ttl_s=600)
            cache_pb2_grpc.add_CacheServiceServicer_to_server(servicer, server.server)
            port = await server.start()
            stack.push_async_callback(server.server.stop, 0)
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
            return Instance(cache_pb2_grpc.CacheServiceStub(channel), parts)

        yield await start(), await start()


async def test_what_one_instance_is_given_another_finds_by_meaning(instances: tuple[Instance, Instance]) -> None:
    """A question answered through one gateway is not computed again, in other words, behind another one."""
    one, other = instances
    await one.put("what is the capital of france", "Paris")
    other.parts.decider.kind = DecisionKind.SERVE
    found = await other.look_up("what is the capital city of france")
    assert (found.outcome, found.answer.choices[0].text) == (cache_pb2.LOOKUP_OUTCOME_SEMANTIC_HIT, "Paris")


async def test_what_one_instance_learns_another_knows(instances: tuple[Instance, Instance]) -> None:
    """Both keep to one error rate: what was compared behind one of them counts for the other's decisions."""
    one, other = instances
    await one.put("what is the capital of france", "Paris")
    explored = await one.look_up("what is the capital city of france")
    await one.put("what is the capital city of france", "Paris", explored.exploration_token)
    assert len(one.parts.decider.labels) == 1
    await other.look_up("capital of france")
    assert other.parts.decider.labels == one.parts.decider.labels
