"""The gateway with a cache: what is found, what is kept, and a cache that is slow, dead or not asked."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from fakes.gateway_deployment import Deployment, StartDeployment, collect, collect_until_error, kinds_of, text_of
from fakes.scripted_cache import ScriptedCache
from fakes.span_collector import span_collector
from google.protobuf.duration_pb2 import Duration

from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2
from penstock_shared.errors import UnavailableError

GREEDY = {"temperature": 0}
MISS, HIT = inference_pb2.CACHE_OUTCOME_MISS, inference_pb2.CACHE_OUTCOME_EXACT_HIT
SKIPPED, BYPASSED = inference_pb2.CACHE_OUTCOME_SKIPPED, inference_pb2.CACHE_OUTCOME_BYPASSED


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
    return await start(cache_address=cache.address)


EXACT = inference_pb2.CachePolicy(max_error_rate=0)


def policy(**fields: Any) -> inference_pb2.CachePolicy:
    """What a request allows."""
    return inference_pb2.CachePolicy(**fields)


async def outcome(deployment: Deployment, text: str = "Hi", **fields: Any) -> tuple[int, str]:
    """What the cache did for a greedy request, and why."""
    fields.setdefault("sampling", GREEDY)
    report = (await deployment.complete(text, **fields)).started.cache
    return report.outcome, report.reason


async def test_the_same_request_again_is_answered_from_the_cache(deployment: Deployment, cache: ScriptedCache) -> None:
    """The same stream, without a replica."""
    first = await collect(deployment.generate(sampling=GREEDY, return_token_ids=True))
    await cache.until_kept(1)
    again = await collect(deployment.generate(sampling=GREEDY, return_token_ids=True))
    assert kinds_of(again) == ["started", "delta", "finished", "final"]
    assert (first[0].started.cache.outcome, again[0].started.cache.outcome) == (MISS, HIT)
    assert (text_of(again), text_of(first)) == ("Hello, world", "Hello, world")
    assert bytes(token for event in again for token in event.delta.token_ids) == b"Hello, world"
    assert again[-2].finished == first[-2].finished
    assert again[-1].final.usage == first[-1].final.usage
    started, final = again[0].started, again[-1].final
    assert (started.replica, started.routing_reason, started.prompt_tokens) == ("", "cache", 2)
    assert (started.model, started.model_revision) == (first[0].started.model, "revision-1")
    assert started.request_id != first[0].started.request_id
    assert started.sampling.max_tokens == first[0].started.sampling.max_tokens
    assert final.is_exact_continuation
    total_s, cache_s = (each.ToNanoseconds() / 1e9 for each in (final.timings.total, final.timings.cache))
    assert total_s >= final.timings.time_to_first_token.ToNanoseconds() / 1e9 >= cache_s > 0
    assert final.timings.prefill.ToNanoseconds() == 0
    assert len(deployment.workers[0].groups) == 1
    await deployment.until_idle()


async def test_all_of_an_answer_comes_back(start: StartDeployment, cache: ScriptedCache) -> None:
    """Every choice with its own end, by the unary call as well; ids only for those who ask."""

    def reply(_group: worker_pb2.SequenceGroup, choice: worker_pb2.SequenceChoice) -> Sequence[int]:
        return (b"one. two", b"three")[choice.index]

    deployment = await start(num_replicas=0, is_ready=False, cache_address=cache.address)
    await deployment.add_worker(reply=reply)
    await deployment.until_ready()
    asked = {"sampling": {"seed": 7, "n": 2, "stop": ["."]}}
    first = await deployment.complete(**asked)
    await cache.until_kept(1)
    again = await deployment.complete(**asked, return_token_ids=True)
    assert again.started.cache.outcome == HIT
    assert [choice.output.text for choice in again.choices] == ["one", "three"]
    assert [choice.finished for choice in again.choices] == [choice.finished for choice in first.choices]
    assert [bytes(choice.output.token_ids) for choice in again.choices] == [b"one.", b"three"]
    assert again.final.usage == first.final.usage


async def test_a_hit_needs_no_tokenizer(deployment: Deployment, cache: ScriptedCache) -> None:
    """Both are asked at once; an answer that is there does not wait for the prompt's tokens, nor leave their making."""
    await deployment.complete(sampling=GREEDY)
    await cache.until_kept(1)
    deployment.tokenizer.gate.clear()
    assert await outcome(deployment) == (HIT, "as scripted")
    await deployment.until_idle()


@pytest.mark.parametrize(
    "change", [{"text": "Ho"}, {"sampling": {"temperature": 0, "n": 2}}, {"cache": policy(scope="x")}]
)
async def test_another_request_is_another_answer(
    deployment: Deployment, cache: ScriptedCache, change: dict[str, Any]
) -> None:
    """Nothing that the answer depends on may differ."""
    await deployment.complete(sampling=GREEDY)
    await cache.until_kept(1)
    assert (await outcome(deployment, **change))[0] == MISS


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"sampling": {}}, (SKIPPED, "sampled without a seed: every answer is another")),
        ({"sampling": {"seed": 1, "logprobs": 1}}, (SKIPPED, "log probabilities are not kept")),
        ({"sampling": {"seed": 1, "prompt_logprobs": 0}}, (SKIPPED, "log probabilities are not kept")),
        ({"cache": policy(mode=inference_pb2.CACHE_MODE_BYPASS)}, (BYPASSED, "the request says bypass")),
    ],
)
async def test_what_may_not_be_shared_is_neither_looked_up_nor_kept(
    deployment: Deployment, cache: ScriptedCache, fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    """The answer says why."""
    assert await outcome(deployment, **fields) == expected
    await deployment.complete("the next one", sampling=GREEDY)
    await cache.until_kept(1)
    assert (len(cache.lookups), len(cache.puts)) == (1, 1)


async def test_a_refresh_replaces_the_answer_without_looking(deployment: Deployment, cache: ScriptedCache) -> None:
    """Somebody knows that the stored one is stale."""
    refresh = policy(mode=inference_pb2.CACHE_MODE_REFRESH)
    for count in (1, 2):
        assert await outcome(deployment, cache=refresh) == (BYPASSED, "the request says refresh")
        await cache.until_kept(count)
    assert not cache.lookups
    assert cache.puts[0].key == cache.puts[1].key
    assert (await outcome(deployment))[0] == HIT


async def test_an_answer_is_kept_as_the_request_says(deployment: Deployment, cache: ScriptedCache) -> None:
    """Its time, its labels, its tenant and its revision."""
    await deployment.complete(sampling=GREEDY, cache=policy(ttl=Duration(seconds=5), tags=["a", "b"]))
    await deployment.complete("two", sampling=GREEDY)
    await cache.until_kept(2)
    first, second = cache.puts
    assert (first.ttl, list(first.tags)) == (Duration(seconds=5), ["a", "b"])
    assert (first.key.tenant, first.answer.model_revision) == ("default", "revision-1")
    assert not second.HasField("ttl")


async def test_an_answer_that_did_not_end_well_is_not_kept(start: StartDeployment, cache: ScriptedCache) -> None:
    """A part of an answer, served to everybody, would be worse than none."""
    deployment = await start(num_replicas=0, is_ready=False, cache_address=cache.address)
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
    assert [put.answer.choices[0].text for put in cache.puts] == ["Hello, world"]


async def test_an_answer_of_mixed_arithmetic_is_not_kept(start: StartDeployment, cache: ScriptedCache) -> None:
    """It may differ from what any one replica gives."""
    deployment = await start(num_replicas=0, is_ready=False, cache_address=cache.address)
    first = await deployment.add_worker()
    first.pause_after = 5
    await deployment.until_ready()
    call = deployment.generate("moved", sampling=GREEDY)
    await first.until(lambda: first.num_running == 1)
    await deployment.add_worker(numerics="bf16")
    await deployment.until_ready(2)
    await first.stop()
    events = await collect(call)
    assert not events[-1].final.is_exact_continuation
    await deployment.complete("whole", sampling=GREEDY, cache=policy(tags=["whole"]))
    await cache.until_kept(1)
    assert [list(put.tags) for put in cache.puts] == [["whole"]]


async def test_a_cut_answer_is_kept_as_what_it_is(deployment: Deployment, cache: ScriptedCache) -> None:
    """The same limit gives the same cut; another limit is another request."""
    cut = {"temperature": 0, "max_tokens": 5}
    first = await deployment.complete(sampling=cut)
    await cache.until_kept(1)
    again = await deployment.complete(sampling=cut)
    assert again.started.cache.outcome == HIT
    assert again.choices[0].finished == first.choices[0].finished
    assert (await outcome(deployment))[0] == MISS


async def test_a_slow_cache_is_left_behind_and_then_left_out(deployment: Deployment, cache: ScriptedCache) -> None:
    """50 ms at most, and after a few of them nothing, until it is well again."""
    cache.gate.clear()
    for _ in range(5):
        assert await outcome(deployment, cache=EXACT) == (SKIPPED, "the cache did not answer within 50 ms")
    assert await outcome(deployment) == (SKIPPED, "the cache kept failing and is left out for a while")
    assert len(cache.lookups) == 5
    assert all(0 <= budget_s <= 0.06 for budget_s in cache.budgets_s)
    cache.gate.set()
    await cache.until_kept(6)
    await until_outcome(deployment, HIT)


async def test_late_comparisons_are_left_out_and_exact_answers_are_found_all_the_same(
    deployment: Deployment, cache: ScriptedCache
) -> None:
    """To compare prompts takes an encoder's time, which a slow machine has not; to find the very same takes none."""
    await outcome(deployment)
    await cache.until_kept(1)
    cache.meaning_gate.clear()
    for number in range(5):
        assert await outcome(deployment, f"late {number}") == (SKIPPED, "the cache did not answer within 50 ms")
        assert await outcome(deployment) == (HIT, "as scripted")
    reason = "comparing by meaning kept being late and is left out for a while"
    assert await outcome(deployment, "left out") == (MISS, reason)
    assert not cache.lookups[-1].key.context_digest
    assert await outcome(deployment) == (HIT, "as scripted")
    await cache.until_kept(7)
    assert all(put.key.context_digest for put in cache.puts)


async def test_on_a_slow_machine_the_budget_can_be_wider(start: StartDeployment, cache: ScriptedCache) -> None:
    """To compare prompts takes longer there than an answer should wait elsewhere."""
    cache.gate.clear()
    deployment = await start(cache_address=cache.address, cache_budget_s=0.2)
    assert await outcome(deployment) == (SKIPPED, "the cache did not answer within 200 ms")


async def until_outcome(deployment: Deployment, wanted: int) -> None:
    """Asks until the cache does what is wanted."""
    async with asyncio.timeout(10):
        while (await outcome(deployment))[0] != wanted:
            pass


async def test_a_failing_cache_is_never_the_clients_error(deployment: Deployment, cache: ScriptedCache) -> None:
    """Neither its lookups nor its puts."""
    cache.failure = UnavailableError("the disk is full")
    assert await outcome(deployment) == (SKIPPED, "the cache failed: UNAVAILABLE")
    cache.failure = None
    assert (await outcome(deployment, "another"))[0] == MISS


async def test_a_dead_cache_is_never_the_clients_error(deployment: Deployment, cache: ScriptedCache) -> None:
    """It was killed, and requests go on."""
    await cache.stop()
    for _ in range(7):
        assert (await outcome(deployment))[0] == SKIPPED


async def test_a_slow_put_delays_nobody(deployment: Deployment, cache: ScriptedCache) -> None:
    """The client has its answer before the cache has it."""
    cache.put_gate.clear()
    assert (await outcome(deployment))[0] == MISS
    assert (await outcome(deployment))[0] == MISS
    await deployment.until_idle()
    cache.put_gate.set()
    await cache.until_kept(2)


REQUEST = "text_completion pocket"
# Two server spans and requests, admissions, lookups with their calls; one each of five phases and calls of a miss.
NUM_SPANS = 2 * 5 + 6


async def test_the_spans_of_the_cache_belong_to_its_request(start: StartDeployment, cache: ScriptedCache) -> None:
    """Who asks why a request was quick finds the reason in its trace."""
    with span_collector() as collector:
        deployment = await start(otlp_endpoint=collector.endpoint, cache_address=cache.address)
        await deployment.complete(sampling=GREEDY)
        await cache.until_kept(1)
        await deployment.complete(sampling=GREEDY)
        spans = collector.wait_for(lambda found: len(found) >= NUM_SPANS)
    requests = {span.attributes["penstock.cache.outcome"]: span for span in spans if span.name == REQUEST}
    missed, hit = requests["miss"], requests["exact_hit"]
    assert hit.attributes["penstock.routing_reason"] == "cache"
    assert hit.attributes["gen_ai.usage.output_tokens"] == 12
    assert {span.name for span in spans if span.parent_id == hit.span_id} == {"admit", "cache"}
    put = "penstock.cache.v1.CacheService/Put"
    assert {span.name for span in spans if span.parent_id == missed.span_id} == {
        "admit",
        "cache",
        "tokenize",
        "queue",
        "prefill",
        "decode",
        put,
    }
    cache_spans = {span.span_id for span in spans if span.name == "cache"}
    lookups = [span for span in spans if span.name == "penstock.cache.v1.CacheService/Lookup"]
    assert {span.parent_id for span in lookups} == cache_spans


async def test_what_the_cache_did_is_counted(deployment: Deployment, cache: ScriptedCache) -> None:
    """Operators watch the share of hits."""
    await outcome(deployment)
    await cache.until_kept(1)
    await outcome(deployment)
    rendered = deployment.gateway._metrics.render().decode()
    assert 'penstock_gateway_cache_total{outcome="exact_hit"} 1.0' in rendered
    assert 'penstock_gateway_cache_total{outcome="miss"} 1.0' in rendered


async def test_choices_that_end_differently_are_kept_so(deployment: Deployment, cache: ScriptedCache) -> None:
    """A finished reason belongs to its choice."""
    await deployment.complete(sampling={"seed": 1, "stop": ["o, "]})
    await cache.until_kept(1)
    (choice,) = cache.puts[0].answer.choices
    assert (choice.text, choice.stop_string) == ("Hell", "o, ")
    assert choice.finish_reason == types_pb2.FINISH_REASON_STOP
