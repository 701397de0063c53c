"""The gateway with a cache that finds answers by meaning: told, explored, and never taken for what it is not."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fakes.gateway_deployment import Deployment, StartDeployment, collect, collect_until_error, kinds_of, text_of
from fakes.scripted_cache import ScriptedCache
from fakes.span_collector import span_collector

from penstock.cache.v1 import cache_pb2
from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock_shared.errors import UnavailableError

GREEDY = {"temperature": 0}
TOKEN = b"token"
# What is decided is tested here, not how long it takes.
BUDGET_S = 10.0
HIT, EXPLORED = inference_pb2.CACHE_OUTCOME_SEMANTIC_HIT, inference_pb2.CACHE_OUTCOME_EXPLORED
MISS, JOINED = inference_pb2.CACHE_OUTCOME_MISS, inference_pb2.CACHE_OUTCOME_JOINED


def found(outcome: cache_pb2.LookupOutcome.ValueType, *, reason: int = types_pb2.FINISH_REASON_STOP) -> Any:
    """What the cache says of another wording's answer."""
    choice = cache_pb2.CachedChoice(
        text="Bonjour", token_ids=b"Bonjour", finish_reason=types_pb2.FinishReason.ValueType(reason)
    )
    return cache_pb2.LookupResponse(
        outcome=outcome,
        answer=cache_pb2.CachedAnswer(
            choices=[choice],
            usage=types_pb2.Usage(prompt_tokens=99, completion_tokens=7, cached_prompt_tokens=64),
            model_revision="revision-1",
        ),
        score=0.98,
        similarity=0.91,
        error_bound=0.006,
        reason="as scripted",
        exploration_token=TOKEN if outcome == cache_pb2.LOOKUP_OUTCOME_EXPLORE else b"",
    )


SERVED, UNTRUSTED = found(cache_pb2.LOOKUP_OUTCOME_SEMANTIC_HIT), found(cache_pb2.LOOKUP_OUTCOME_EXPLORE)


@pytest.fixture
async def cache() -> AsyncIterator[ScriptedCache]:
    """A cache service."""
    made = ScriptedCache()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def deployment(start: StartDeployment, cache: ScriptedCache) -> Deployment:
    """One replica behind a gateway with the cache."""
    return await start(cache_address=cache.address, cache_budget_s=BUDGET_S)


async def test_another_wordings_answer_streams_like_an_answer(deployment: Deployment, cache: ScriptedCache) -> None:
    """No replica has anything to do, and the prompt's own tokens are counted."""
    cache.by_meaning = SERVED
    events = await collect(deployment.generate("Hi there", sampling=GREEDY))
    assert (kinds_of(events), text_of(events)) == (["started", "delta", "finished", "final"], "Bonjour")
    started, usage = events[0].started, events[-1].final.usage
    assert (started.replica, started.routing_reason, started.prompt_tokens) == ("", "cache", len("Hi there"))
    assert usage == types_pb2.Usage(prompt_tokens=len("Hi there"), completion_tokens=7)
    report = started.cache
    assert (report.outcome, report.reason, report.max_error_rate) == (HIT, "as scripted", 0.01)
    assert (report.score, report.similarity, report.error_bound) == (0.98, 0.91, 0.006)
    assert not deployment.workers[0].groups
    (lookup,) = cache.lookups
    assert (lookup.key.prompt, lookup.key.model, lookup.key.is_scoped) == ("Hi there", "pocket", False)
    assert (len(lookup.key.context_digest), lookup.max_error_rate) == (32, 0.01)
    await deployment.until_idle()
    assert not cache.puts


async def test_an_untrusted_answer_is_explored(deployment: Deployment, cache: ScriptedCache) -> None:
    """The model answers, streaming, and the cache gets to compare."""
    cache.by_meaning = UNTRUSTED
    events = await collect(deployment.generate(sampling=GREEDY))
    assert text_of(events) == "Hello, world"
    report = events[0].started.cache
    assert (report.outcome, report.score, report.reason) == (EXPLORED, 0.98, "as scripted")
    await cache.until_kept(1)
    (put,) = cache.puts
    assert (put.exploration_token, put.answer.choices[0].text, put.key.prompt) == (TOKEN, "Hello, world", "Hi")
    assert put.key == cache.lookups[0].key


async def test_whoever_joins_still_tells_what_its_exploration_came_to(
    deployment: Deployment, cache: ScriptedCache
) -> None:
    """Two equal requests look up at the same time and share one generation; each has a question of its own."""
    cache.by_meaning = UNTRUSTED
    cache.gate.clear()
    asked = [asyncio.ensure_future(deployment.complete(sampling=GREEDY)) for _ in range(2)]
    await deployment.until(lambda: len(cache.lookups) == 2)
    cache.gate.set()
    outcomes = sorted([(await each).started.cache.outcome for each in asked])
    await cache.until_kept(2)
    assert outcomes == sorted([EXPLORED, JOINED])
    assert [put.exploration_token for put in cache.puts] == [TOKEN, TOKEN]
    assert len(deployment.workers[0].groups) == 1


async def test_a_cancelled_exploration_tells_nothing(start: StartDeployment, cache: ScriptedCache) -> None:
    """Half an answer differs from a whole one, and says nothing about what the stored one is worth."""
    cache.by_meaning = UNTRUSTED
    deployment = await start(num_replicas=0, is_ready=False, cache_address=cache.address, cache_budget_s=BUDGET_S)
    worker = await deployment.add_worker()
    worker.pause_after = 5
    await deployment.until_ready()
    call = deployment.generate("cancelled", sampling=GREEDY)
    reading = asyncio.ensure_future(collect(call))
    await worker.until(lambda: worker.num_running == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await collect_until_error(deployment.generate("late", sampling=GREEDY, timeout_s=0.3))
    await deployment.until_idle()
    worker.pause_after = None
    await deployment.complete("whole", sampling=GREEDY)
    await cache.until_kept(1)
    assert [put.key.prompt for put in cache.puts] == ["whole"]


async def test_an_answer_that_a_limit_cut_serves_the_very_same_request_only(
    start: StartDeployment, cache: ScriptedCache
) -> None:
    """To another wording it would look complete, and to compare with it would teach the cache something wrong."""
    cache.by_meaning = UNTRUSTED
    deployment = await start(num_replicas=0, is_ready=False, cache_address=cache.address, cache_budget_s=BUDGET_S)
    worker = await deployment.add_worker(reply=None)
    await deployment.until_ready()
    asking = asyncio.ensure_future(deployment.complete(sampling=GREEDY | {"max_tokens": 5}))
    await worker.until(lambda: bool(worker.groups))
    worker.send_output(worker.groups[0], b"Hello", end=types_pb2.FINISH_REASON_LENGTH)
    assert (await asking).choices[0].finished.reason == types_pb2.FINISH_REASON_LENGTH
    await cache.until_kept(1)
    (put,) = cache.puts
    assert put.answer.choices[0].finish_reason == types_pb2.FINISH_REASON_LENGTH
    assert (put.key.prompt, put.key.context_digest, put.exploration_token) == ("", b"", b"")
    assert put.key.exact_digest == cache.lookups[0].key.exact_digest


async def test_a_cut_answer_is_not_told_whatever_the_cache_says(deployment: Deployment, cache: ScriptedCache) -> None:
    """It may come from a store that something else has written."""
    cache.by_meaning = found(cache_pb2.LOOKUP_OUTCOME_SEMANTIC_HIT, reason=types_pb2.FINISH_REASON_LENGTH)
    answer = await deployment.complete(sampling=GREEDY)
    assert (answer.started.cache.outcome, answer.choices[0].output.text) == (MISS, "Hello, world")


async def test_a_prompt_that_is_too_long_is_refused_however_like_another(
    deployment: Deployment, cache: ScriptedCache
) -> None:
    """Whether it is an error must not depend on what others have asked."""
    cache.by_meaning = SERVED
    error = await collect_until_error(deployment.generate("x" * 2000, sampling=GREEDY))
    assert "request.input: got '2000 tokens'" in str(error)


@pytest.mark.parametrize(
    "fields",
    [
        {"sampling": GREEDY, "cache": inference_pb2.CachePolicy(max_error_rate=0)},
        {"sampling": GREEDY, "return_token_ids": True},
        {"sampling": {"seed": 7}},
        {"sampling": GREEDY, "input": inference_pb2.Input(token_ids=inference_pb2.TokenIds(ids=b"Hi"))},
    ],
)
async def test_what_is_not_compared_finds_the_very_same_request_only(
    deployment: Deployment, cache: ScriptedCache, fields: dict[str, Any]
) -> None:
    """And no text of it goes to the cache's eyes for comparison."""
    cache.by_meaning = SERVED
    answer = await deployment.complete(**fields)
    assert answer.started.cache.outcome == MISS
    assert not answer.started.cache.HasField("max_error_rate")
    (lookup,) = cache.lookups
    assert (lookup.key.context_digest, lookup.key.prompt, lookup.max_error_rate) == (b"", "", 0)


async def test_a_request_without_a_seed_takes_an_earlier_answer_when_it_says_so(
    deployment: Deployment, cache: ScriptedCache
) -> None:
    """Its own error rate is its word for that."""
    cache.by_meaning = SERVED
    assert (await deployment.complete()).choices[0].output.text == "Hello, world"
    answer = await deployment.complete(cache=inference_pb2.CachePolicy(max_error_rate=0.02, scope="team"))
    assert (answer.choices[0].output.text, answer.started.cache.max_error_rate) == ("Bonjour", 0.02)
    assert [lookup.key.is_scoped for lookup in cache.lookups] == [True]


async def test_the_tenants_word_goes_before_the_models_and_that_before_the_services(
    start: StartDeployment, cache: ScriptedCache, tmp_path: Path
) -> None:
    """Operators set what holds where the request says nothing."""
    (tmp_path / "tenants.json").write_text(
        json.dumps({"version": 1, "tenants": {"default": {"cache_max_error_rate": 0.04}}})
    )
    of_tenant = await start(
        cache_address=cache.address, cache_max_error_rate_by_model={"pocket": 0.03}, cache_max_error_rate=0.02
    )
    await of_tenant.complete("one", sampling=GREEDY)
    (tmp_path / "tenants.json").unlink()
    of_model = await start(
        cache_address=cache.address, cache_max_error_rate_by_model={"pocket": 0.03}, cache_max_error_rate=0.02
    )
    await of_model.complete("two", sampling=GREEDY)
    of_service = await start(cache_address=cache.address, cache_budget_s=BUDGET_S, cache_max_error_rate=0.02)
    await of_service.complete("three", sampling=GREEDY)
    assert [lookup.max_error_rate for lookup in cache.lookups] == [0.04, 0.03, 0.02]


async def test_what_the_cache_found_by_meaning_is_counted(deployment: Deployment, cache: ScriptedCache) -> None:
    """Operators watch how much is served, how long it takes, and how often it would have been wrong."""
    cache.by_meaning = SERVED
    await deployment.complete("one", sampling=GREEDY)
    cache.by_meaning = UNTRUSTED
    results: list[bool | None] = [True, True, True, False, False, None]
    for count, cache.is_equivalent in enumerate(results, start=1):
        await deployment.complete(f"{count}", sampling=GREEDY)
        await cache.until_kept(count)
    metrics = deployment.gateway._metrics
    expected = {"right": 3.0, "wrong": 2.0, "unknown": 1.0}
    counted = [f'penstock_gateway_cache_explorations_total{{result="{name}"}} {n}' for name, n in expected.items()]
    await deployment.until(lambda: all(line in metrics.render().decode() for line in counted))
    rendered = metrics.render().decode()
    assert 'penstock_gateway_cache_total{outcome="semantic_hit"} 1.0' in rendered
    assert 'penstock_gateway_cache_total{outcome="explored"} 6.0' in rendered
    assert 'penstock_gateway_cache_lookup_seconds_count{outcome="semantic_hit"} 1.0' in rendered
    assert 'penstock_gateway_cache_lookup_seconds_count{outcome="explored"} 6.0' in rendered


async def test_an_exploration_that_cannot_be_reported_is_counted_as_unknown(
    deployment: Deployment, cache: ScriptedCache
) -> None:
    """It happened, and what it came to is lost."""
    cache.by_meaning = UNTRUSTED
    cache.put_gate.clear()
    await deployment.complete(sampling=GREEDY)
    cache.failure = UnavailableError("away")
    cache.put_gate.set()
    metrics, line = deployment.gateway._metrics, 'penstock_gateway_cache_explorations_total{result="unknown"} 1.0'
    await deployment.until(lambda: line in metrics.render().decode())
    rendered = metrics.render().decode()
    assert not any(f'explorations_total{{result="{result}"}}' in rendered for result in ("right", "wrong"))


async def test_the_span_says_what_was_decided_and_why(start: StartDeployment, cache: ScriptedCache) -> None:
    """Who doubts an answer finds the decision in its trace."""
    cache.by_meaning = SERVED
    with span_collector() as collector:
        deployment = await start(otlp_endpoint=collector.endpoint, cache_address=cache.address, cache_budget_s=BUDGET_S)
        await deployment.complete(sampling=GREEDY)
        spans = collector.wait_for(lambda found: any(span.name == "text_completion pocket" for span in found))
    (span,) = (span for span in spans if span.name == "text_completion pocket")
    told = {name.removeprefix("penstock.cache."): value for name, value in span.attributes.items()}
    assert (told["outcome"], told["reason"]) == ("semantic_hit", "as scripted")
    assert (told["score"], told["similarity"], told["error_bound"], told["max_error_rate"]) == (0.98, 0.91, 0.006, 0.01)
    children = {each.name for each in spans if each.parent_id == span.span_id}
    assert children == {"admit", "cache", "tokenize"}
