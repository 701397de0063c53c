"""Answers on their way to the cache: bounded, and not lost when the gateway ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest
from fakes.scripted_cache import ScriptedCache

from penstock_gateway.cache.answer_cache import AnswerCache
from penstock_gateway.cache.answer_key import AnswerKey
from penstock_gateway.cache.cache_client import CacheClient
from penstock_gateway.cache.planner import CacheUse
from penstock_gateway.cache.stored_answer import StoredAnswer, StoredChoice
from penstock_gateway.events import FinishReason, Usage
from penstock_gateway.requests import CachePolicy
from penstock_shared.tracing import TraceContext

USE = CacheUse(CachePolicy(), AnswerKey("acme", "pocket", bytes(32)), None, 0.0, "", None)
ANSWER = StoredAnswer((StoredChoice("Paris", (1,), FinishReason.STOP),), Usage(1, 1, 0), "r")
TRACE = TraceContext(1, 1, is_sampled=False)


@pytest.fixture
async def service() -> AsyncIterator[ScriptedCache]:
    """A cache service."""
    made = ScriptedCache()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def cache(service: ScriptedCache) -> AsyncIterator[AnswerCache]:
    """The gateway's side of it."""
    async with grpc.aio.insecure_channel(service.address) as channel:
        yield AnswerCache(CacheClient(channel, time.monotonic, lookup_budget_s=5), lambda _: None)


async def test_so_many_answers_are_on_their_way_and_no_more(cache: AnswerCache, service: ScriptedCache) -> None:
    """A cache that is slow to keep must not fill the gateway's memory."""
    service.put_gate.clear()
    for _ in range(70):
        cache.keep(USE, ANSWER, TRACE)
    assert repr(cache) == "AnswerCache(configured=True, puts=64)"
    service.put_gate.set()
    await service.until_kept(64)


async def test_an_end_waits_for_answers_on_their_way(cache: AnswerCache, service: ScriptedCache) -> None:
    """What a user asked right before a restart is found right after it."""
    service.put_gate.clear()
    cache.keep(USE, ANSWER, TRACE)
    closing = asyncio.create_task(cache.close())
    await asyncio.sleep(0)
    service.put_gate.set()
    await closing
    assert [put.answer.choices[0].text for put in service.puts] == ["Paris"]


async def test_an_end_does_not_wait_for_ever(cache: AnswerCache, service: ScriptedCache) -> None:
    """A cache that hangs must not keep the gateway from its end."""
    service.put_gate.clear()
    cache.keep(USE, ANSWER, TRACE)
    async with asyncio.timeout(5):
        await cache.close()
    assert not service.puts


async def test_what_has_no_key_or_did_not_end_well_is_not_sent(cache: AnswerCache) -> None:
    """There is nothing to keep it under, or nothing to keep."""
    cache.keep(replace(USE, key=None), ANSWER, TRACE)
    cache.keep(USE, None, TRACE)
    assert repr(cache) == "AnswerCache(configured=True, puts=0)"
