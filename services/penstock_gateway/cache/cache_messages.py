"""The messages of `cache.v1`, to and from plain values."""

from google.protobuf.duration_pb2 import Duration

from penstock.cache.v1 import cache_pb2
from penstock.types.v1 import types_pb2
from penstock_gateway.cache.answer_key import AnswerKey
from penstock_gateway.cache.stored_answer import StoredAnswer, StoredChoice
from penstock_gateway.events import CacheOutcome, CacheReport, FinishReason, Usage
from penstock_gateway.requests import CachePolicy

_OUTCOMES = {
    cache_pb2.LOOKUP_OUTCOME_EXACT_HIT: CacheOutcome.EXACT_HIT,
    cache_pb2.LOOKUP_OUTCOME_SEMANTIC_HIT: CacheOutcome.SEMANTIC_HIT,
    cache_pb2.LOOKUP_OUTCOME_EXPLORE: CacheOutcome.EXPLORED,
}


def lookup_message(key: AnswerKey, *, max_error_rate: float) -> cache_pb2.LookupRequest:
    """Asks for an answer."""
    return cache_pb2.LookupRequest(key=key_message(key), max_error_rate=_rate(key, max_error_rate))


def explain_message(key: AnswerKey, *, max_error_rate: float) -> cache_pb2.ExplainRequest:
    """Asks what a lookup would come to."""
    return cache_pb2.ExplainRequest(key=key_message(key), max_error_rate=_rate(key, max_error_rate))


def key_message(key: AnswerKey) -> cache_pb2.CacheKey:
    """What an answer is found by."""
    message = cache_pb2.CacheKey(
        tenant=key.tenant, exact_digest=key.exact_digest, model=key.model, is_scoped=key.is_scoped
    )
    if key.semantic is not None:
        message.context_digest = key.semantic.context_digest
        message.prompt = key.semantic.prompt
    return message


def report_of(response: cache_pb2.LookupResponse, *, max_error_rate: float | None) -> CacheReport:
    """What a lookup came to. An outcome of a newer service is a miss; the very same request's answer bears no error."""
    outcome = _OUTCOMES.get(response.outcome, CacheOutcome.MISS)
    return CacheReport(
        outcome=outcome,
        reason=response.reason,
        max_error_rate=None if outcome is CacheOutcome.EXACT_HIT else max_error_rate,
        score=response.score if response.HasField("score") else None,
        similarity=response.similarity if response.HasField("similarity") else None,
        error_bound=response.error_bound if response.HasField("error_bound") else None,
    )


def put_message(
    key: AnswerKey, answer: StoredAnswer, policy: CachePolicy, *, exploration_token: bytes
) -> cache_pb2.PutRequest:
    """Hands an answer over, to be kept as the policy says; without a time to live, as long as the cache keeps any."""
    message = cache_pb2.PutRequest(
        key=key_message(key),
        answer=cache_pb2.CachedAnswer(
            choices=[_choice_message(choice) for choice in answer.choices],
            usage=types_pb2.Usage(
                prompt_tokens=answer.usage.prompt_tokens,
                completion_tokens=answer.usage.completion_tokens,
                cached_prompt_tokens=answer.usage.cached_prompt_tokens,
            ),
            model_revision=answer.model_revision,
        ),
        tags=policy.tags,
        exploration_token=exploration_token,
    )
    if policy.ttl_s is not None:
        lifetime = Duration()
        lifetime.FromNanoseconds(int(policy.ttl_s * 1e9))
        message.ttl.CopyFrom(lifetime)
    return message


def stored_answer(message: cache_pb2.CachedAnswer) -> StoredAnswer:
    """An answer that was kept."""
    usage = message.usage
    return StoredAnswer(
        choices=tuple(_choice(choice) for choice in message.choices),
        usage=Usage(usage.prompt_tokens, usage.completion_tokens, usage.cached_prompt_tokens),
        model_revision=message.model_revision,
    )


def _rate(key: AnswerKey, max_error_rate: float) -> float:
    return 0.0 if key.semantic is None else max_error_rate


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
