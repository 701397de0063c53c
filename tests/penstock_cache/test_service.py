"""The RPCs, over loopback."""

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock.types.v1 import types_pb2

Stub = cache_pb2_grpc.CacheServiceStub


def key(name: str = "a", tenant: str = "acme") -> cache_pb2.CacheKey:
    """A key of its own for each name."""
    return cache_pb2.CacheKey(tenant=tenant, exact_digest=name.encode().ljust(32))


def answer(text: str = "Paris", **fields: Any) -> cache_pb2.CachedAnswer:
    """A whole answer of two choices."""
    fields.setdefault("model_revision", "r1")
    return cache_pb2.CachedAnswer(
        choices=[
            cache_pb2.CachedChoice(
                text=text, token_ids=[1, 2], finish_reason=types_pb2.FINISH_REASON_STOP, stop_string="."
            ),
            cache_pb2.CachedChoice(text="Pa", token_ids=[1], finish_reason=types_pb2.FINISH_REASON_LENGTH),
        ],
        usage=types_pb2.Usage(prompt_tokens=5, completion_tokens=3),
        **fields,
    )


def put(name: str = "a", **fields: Any) -> cache_pb2.PutRequest:
    """A valid request to keep an answer."""
    fields.setdefault("answer", answer())
    fields.setdefault("key", key(name))
    return cache_pb2.PutRequest(**fields)


def lookup(name: str = "a", **fields: Any) -> cache_pb2.LookupRequest:
    """A lookup."""
    return cache_pb2.LookupRequest(key=key(name), **fields)


async def test_an_answer_comes_back_as_it_was_put(stub: Stub) -> None:
    """What a client gets from the cache is what the model gave."""
    assert (await stub.Lookup(lookup())).outcome == cache_pb2.LOOKUP_OUTCOME_MISS
    stored = await stub.Put(put())
    assert stored.is_stored
    hit = await stub.Lookup(lookup())
    assert hit.outcome == cache_pb2.LOOKUP_OUTCOME_EXACT_HIT
    assert (list(hit.answer.choices), hit.answer.usage) == (list(answer().choices), answer().usage)
    assert (hit.answer.entry_id, hit.answer.model_revision) == (stored.entry_id, "r1")
    assert hit.answer.create_time.seconds == 1000


async def test_counters_tell_what_happened_to_each_tenant(stub: Stub) -> None:
    """Operators size the cache by them."""
    await stub.Put(put("a"))
    await stub.Put(put(key=key("a", "other")))
    for name in "aab":
        await stub.Lookup(lookup(name))
    acme = await stub.GetStats(cache_pb2.GetStatsRequest(tenant="acme"))
    every = await stub.GetStats(cache_pb2.GetStatsRequest())
    assert (acme.num_entries, acme.num_lookups, acme.num_exact_hits) == (1, 3, 2)
    assert (every.num_entries, every.num_lookups, every.num_exact_hits) == (2, 3, 2)
    assert every.size_bytes == 2 * acme.size_bytes > 0


async def test_evictions_and_refusals_are_told(start_service: Any) -> None:
    """A cache that is too small for its traffic shows in its counters."""
    stub = await start_service(max_bytes=1000)
    for name in "ab":
        assert (await stub.Put(put(name))).is_stored
    refused = await stub.Put(put("c", answer=answer("x" * 2000)))
    assert (refused.is_stored, refused.entry_id) == (False, "")
    assert (await stub.GetStats(cache_pb2.GetStatsRequest())).num_evictions == 1


async def test_an_invalidation_says_how_many_it_removed(stub: Stub) -> None:
    """Whoever changes a document wants to see it gone."""
    for name in "ab":
        await stub.Put(put(name, tags=["doc"]))
    removed = await stub.Invalidate(cache_pb2.InvalidateRequest(tenant="acme", tag="doc"))
    assert removed.num_removed == 2
    assert (await stub.Lookup(lookup())).outcome == cache_pb2.LOOKUP_OUTCOME_MISS


UNFINISHED = cache_pb2.CachedChoice(text="x", finish_reason=types_pb2.FINISH_REASON_CANCELLED)
NO_CONTEXT = cache_pb2.CacheKey(tenant="acme", exact_digest=bytes(32), prompt="x")
NO_PROMPT = cache_pb2.CacheKey(tenant="acme", exact_digest=bytes(32), context_digest=bytes(32))
NUL_MODEL = cache_pb2.CacheKey(
    tenant="acme", exact_digest=bytes(32), context_digest=bytes(32), prompt="x", model="a\0b"
)
NO_TENANT = cache_pb2.CacheKey(exact_digest=bytes(32))


@pytest.mark.parametrize(
    ("method", "request_", "line"),
    [
        ("Lookup", cache_pb2.LookupRequest(), "key.exact_digest: got '0 bytes'; allowed: a digest of 32 bytes"),
        ("Lookup", cache_pb2.LookupRequest(key=NO_TENANT), "key.tenant: got '0 bytes'; allowed: 1 to 256 bytes"),
        ("Lookup", lookup(max_error_rate=1.5), "max_error_rate: got 1.5; allowed: in [0, 1]"),
        ("Put", put(answer=cache_pb2.CachedAnswer(model_revision="r")), "answer.choices: got 'nothing'"),
        ("Put", put(answer=answer(model_revision="")), "answer.model_revision: got ''"),
        (
            "Put",
            put(answer=cache_pb2.CachedAnswer(choices=[UNFINISHED], model_revision="r")),
            "answer.choices[0].finish_reason: got 3; allowed: STOP or LENGTH",
        ),
        ("Put", put(ttl=Duration()), "ttl: got '0 s'; allowed: above 0 and at most 600 s"),
        ("Put", put(ttl=Duration(seconds=601)), "ttl: got '601 s'"),
        ("Put", put(tags=["t"] * 17), "tags: got '17 entries'; allowed: at most 16 entries"),
        ("Put", put(tags=["t", "x" * 129]), "tags[1]: got '129 bytes'; allowed: 1 to 128 bytes"),
        ("Put", put(tags=["t", "a\0b"]), "tags[1]: got 'a\\x00b'; allowed: text without NUL characters"),
        ("Put", put(key=key(tenant="a\0b")), "key.tenant: got 'a\\x00b'; allowed: text without NUL"),
        ("Put", put(key=NUL_MODEL), "key.model: got 'a\\x00b'; allowed: text without NUL"),
        ("Put", put(answer=answer(model_revision="a\0b")), "answer.model_revision: got 'a\\x00b'; allowed: text"),
        (
            "Lookup",
            cache_pb2.LookupRequest(key=key(tenant="a\0b")),
            "key.tenant: got 'a\\x00b'; allowed: text without NUL",
        ),
        ("GetStats", cache_pb2.GetStatsRequest(tenant="a\0b"), "tenant: got 'a\\x00b'; allowed: text without NUL"),
        ("Invalidate", cache_pb2.InvalidateRequest(tenant="acme", tag="a\0b"), "tag: got 'a\\x00b'; allowed: text"),
        ("Put", put(is_equivalent=True), "is_equivalent: got True; allowed: nothing without an exploration_token"),
        ("Lookup", lookup(min_similarity=1.5), "min_similarity: got 1.5; allowed: in [-1, 1]"),
        ("Lookup", lookup(min_score=-0.5), "min_score: got -0.5; allowed: in [0, 1]"),
        ("Lookup", cache_pb2.LookupRequest(key=NO_CONTEXT), "key.context_digest: got '0 bytes'; allowed: a digest"),
        ("Lookup", cache_pb2.LookupRequest(key=NO_PROMPT), "key.prompt: got 'nothing'; allowed: a prompt"),
        ("Put", put(key=NO_CONTEXT), "key.context_digest: got '0 bytes'"),
        ("Explain", cache_pb2.ExplainRequest(), "key.tenant: got '0 bytes'"),
        ("Invalidate", cache_pb2.InvalidateRequest(all=True), "tenant: got '0 bytes'"),
        ("Invalidate", cache_pb2.InvalidateRequest(tenant="acme"), "selector: got 'nothing'"),
        ("Invalidate", cache_pb2.InvalidateRequest(tenant="acme", all=False), "selector: got 'nothing'"),
        ("Invalidate", cache_pb2.InvalidateRequest(tenant="acme", tag=""), "tag: got ''"),
    ],
)
async def test_a_bad_request_is_told_its_field_its_value_and_what_is_allowed(
    stub: Stub, method: str, request_: Any, line: str
) -> None:
    """Nothing half-checked reaches the store."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(stub, method)(request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith(line)


async def test_an_answer_lives_as_long_as_its_writer_says(stub: Stub, clock: Any) -> None:
    """Else as long as the service's default."""
    await stub.Put(put("short", ttl=Duration(seconds=5)))
    await stub.Put(put("default"))
    clock.advance(5)
    outcomes = [(await stub.Lookup(lookup(name))).outcome for name in ("short", "default")]
    assert outcomes == [cache_pb2.LOOKUP_OUTCOME_MISS, cache_pb2.LOOKUP_OUTCOME_EXACT_HIT]
    clock.advance(55)
    assert (await stub.Lookup(lookup("default"))).outcome == cache_pb2.LOOKUP_OUTCOME_MISS
