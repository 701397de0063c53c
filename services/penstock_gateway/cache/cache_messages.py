"""The messages of `cache.v1`, to and from plain values."""

from google.protobuf.duration_pb2 import Duration

from penstock.cache.v1 import cache_pb2
from penstock.types.v1 import types_pb2
from penstock_gateway.cache.stored_answer import StoredAnswer, StoredChoice
from penstock_gateway.events import FinishReason, Usage


def lookup_message(tenant: str, digest: bytes) -> cache_pb2.LookupRequest:
    """Asks for the answer to the very same request."""
    return cache_pb2.LookupRequest(key=cache_pb2.CacheKey(tenant=tenant, exact_digest=digest))


def put_message(
    tenant: str, digest: bytes, answer: StoredAnswer, *, ttl_s: float | None, tags: tuple[str, ...]
) -> cache_pb2.PutRequest:
    """Hands an answer over; `ttl_s` None leaves the time to the cache."""
    message = cache_pb2.PutRequest(
        key=cache_pb2.CacheKey(tenant=tenant, exact_digest=digest),
        answer=cache_pb2.CachedAnswer(
            choices=[_choice_message(choice) for choice in answer.choices],
            usage=types_pb2.Usage(
                prompt_tokens=answer.usage.prompt_tokens,
                completion_tokens=answer.usage.completion_tokens,
                cached_prompt_tokens=answer.usage.cached_prompt_tokens,
            ),
            model_revision=answer.model_revision,
        ),
        tags=tags,
    )
    if ttl_s is not None:
        lifetime = Duration()
        lifetime.FromNanoseconds(int(ttl_s * 1e9))
        message.ttl.CopyFrom(lifetime)
    return message


def invalidate_messages(tenant: str, tags: tuple[str, ...]) -> list[cache_pb2.InvalidateRequest]:
    """Ask for the end of a tenant's answers: one request for each tag, or one for all where there is no tag."""
    if not tags:
        return [cache_pb2.InvalidateRequest(tenant=tenant, all=True)]
    return [cache_pb2.InvalidateRequest(tenant=tenant, tag=tag) for tag in tags]


def stored_answer(message: cache_pb2.CachedAnswer) -> StoredAnswer:
    """An answer that was kept."""
    usage = message.usage
    return StoredAnswer(
        choices=tuple(_choice(choice) for choice in message.choices),
        usage=Usage(usage.prompt_tokens, usage.completion_tokens, usage.cached_prompt_tokens),
        model_revision=message.model_revision,
    )


def _choice_message(choice: StoredChoice) -> cache_pb2.CachedChoice:
    return cache_pb2.CachedChoice(
        text=choice.text,
        token_ids=choice.token_ids,
        finish_reason=types_pb2.FinishReason.ValueType(choice.finish_reason.value),
        stop_string=choice.stop_string,
        stop_token_id=choice.stop_token_id,
    )


def _choice(message: cache_pb2.CachedChoice) -> StoredChoice:
    return StoredChoice(
        text=message.text,
        token_ids=tuple(message.token_ids),
        finish_reason=FinishReason(message.finish_reason),
        stop_string=message.stop_string if message.HasField("stop_string") else None,
        stop_token_id=message.stop_token_id if message.HasField("stop_token_id") else None,
    )
