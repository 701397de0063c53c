"""The messages of `cache.v1`, checked and turned into plain values. Messages stop here and at the service."""

from google.protobuf.duration_pb2 import Duration

from penstock.cache.v1 import cache_pb2
from penstock.types.v1 import types_pb2
from penstock_cache.entries import ExactKey, NewEntry, SelectBy, Selector, StoredEntry
from penstock_cache.semantic.layer import Explanation
from penstock_cache.semantic.question import Outcome, Policy, PolicyKind, Question, Verdict
from penstock_shared.errors import InvalidArgumentError
from penstock_shared.storable import check_storable

_DIGEST_BYTES = 32
_MAX_TAGS = 16
_MAX_TAG_BYTES = 128
_MAX_TENANT_BYTES = 256
_COMPLETE = frozenset({types_pb2.FINISH_REASON_STOP, types_pb2.FINISH_REASON_LENGTH})
_MAX_MODEL_BYTES = 256
_OUTCOMES = {
    Outcome.MISS: cache_pb2.LOOKUP_OUTCOME_MISS,
    Outcome.SERVE: cache_pb2.LOOKUP_OUTCOME_SEMANTIC_HIT,
    Outcome.EXPLORE: cache_pb2.LOOKUP_OUTCOME_EXPLORE,
}
_SELECTORS = {
    "entry_id": SelectBy.ENTRY_ID,
    "tag": SelectBy.TAG,
    "model_revision": SelectBy.MODEL_REVISION,
}


def exact_key(message: cache_pb2.CacheKey) -> ExactKey:
    """The exact part of a key.

    Raises:
        InvalidArgumentError: it names no tenant, or its digest is none.
    """
    if len(message.exact_digest) != _DIGEST_BYTES:
        raise InvalidArgumentError(
            "key.exact_digest", f"{len(message.exact_digest)} bytes", f"a digest of {_DIGEST_BYTES} bytes"
        )
    return ExactKey(tenant_of(message.tenant, field="key.tenant"), message.exact_digest)


def tenant_of(tenant: str, *, field: str) -> str:
    """A tenant's name; it must be there."""
    _check_name(field, tenant, _MAX_TENANT_BYTES)
    return tenant


def question_of(message: cache_pb2.CacheKey) -> Question | None:
    """The semantic part of a key; None where it has none.

    Raises:
        InvalidArgumentError: it is not whole.
    """
    if not message.prompt and not message.context_digest:
        return None
    if not message.prompt:
        raise InvalidArgumentError("key.prompt", "nothing", "a prompt, where there is a context_digest")
    if len(message.context_digest) != _DIGEST_BYTES:
        raise InvalidArgumentError(
            "key.context_digest", f"{len(message.context_digest)} bytes", f"a digest of {_DIGEST_BYTES} bytes"
        )
    if len(message.model.encode()) > _MAX_MODEL_BYTES:
        raise InvalidArgumentError("key.model", message.model, f"at most {_MAX_MODEL_BYTES} bytes")
    check_storable("key.model", message.model)
    return Question(
        tenant=tenant_of(message.tenant, field="key.tenant"),
        model=message.model,
        exact_digest=message.exact_digest,
        context_digest=message.context_digest,
        prompt=message.prompt,
        is_scoped=message.is_scoped,
    )


def policy_of(message: cache_pb2.LookupRequest | cache_pb2.ExplainRequest) -> Policy | None:
    """By what a candidate may be served; None: exact hits only."""
    match message.WhichOneof("threshold"):
        case "min_similarity":
            return Policy(PolicyKind.MIN_SIMILARITY, _in_range("min_similarity", message.min_similarity, -1, 1))
        case "min_score":
            return Policy(PolicyKind.MIN_SCORE, _in_range("min_score", message.min_score, 0, 1))
    max_error_rate = _in_range("max_error_rate", message.max_error_rate, 0, 1)
    return Policy(PolicyKind.MAX_ERROR_RATE, max_error_rate) if max_error_rate else None


def new_entry(message: cache_pb2.PutRequest, *, default_ttl_s: float, max_ttl_s: float) -> NewEntry:
    """An answer to be kept.

    Raises:
        InvalidArgumentError: it is not whole, or a field is out of its range.
    """
    key = exact_key(message.key)
    _check_answer(message.answer)
    if message.HasField("is_equivalent") and not message.exploration_token:
        raise InvalidArgumentError("is_equivalent", message.is_equivalent, "nothing without an exploration_token")
    if len(message.tags) > _MAX_TAGS:
        raise InvalidArgumentError("tags", f"{len(message.tags)} entries", f"at most {_MAX_TAGS} entries")
    for index, tag in enumerate(message.tags):
        _check_name(f"tags[{index}]", tag, _MAX_TAG_BYTES)
    return NewEntry(
        key=key,
        model_revision=message.answer.model_revision,
        answer=message.answer.SerializeToString(),
        ttl_s=_ttl_s(message.ttl, max_ttl_s) if message.HasField("ttl") else default_ttl_s,
        tags=tuple(message.tags),
        tokens_saved=message.answer.usage.prompt_tokens + message.answer.usage.completion_tokens,
    )


def stored_answer(entry: StoredEntry) -> cache_pb2.CachedAnswer:
    """A kept answer, with its id and its time."""
    answer = cache_pb2.CachedAnswer.FromString(entry.answer)
    answer.entry_id = entry.entry_id
    answer.create_time.FromNanoseconds(int(entry.created_s * 1e9))
    return answer


def is_finished(answer: cache_pb2.CachedAnswer) -> bool:
    """Whether the model ended all choices itself. What a length limit cut is no answer to another prompt."""
    return all(choice.finish_reason == types_pb2.FINISH_REASON_STOP for choice in answer.choices)


def texts_of(answer: bytes) -> list[str]:
    """The texts of a kept answer's choices."""
    return [choice.text for choice in cache_pb2.CachedAnswer.FromString(answer).choices]


def selector(message: cache_pb2.InvalidateRequest) -> Selector:
    """What is to be removed.

    Raises:
        InvalidArgumentError: nothing is selected.
    """
    kind = message.WhichOneof("selector")
    if kind == "all" and message.all:
        return Selector(SelectBy.ALL)
    if kind is None or kind == "all":
        raise InvalidArgumentError("selector", "nothing", "one of entry_id, tag, model_revision and all = true")
    value: str = getattr(message, kind)
    if not value:
        raise InvalidArgumentError(kind, value, "at least one character")
    check_storable(kind, value)
    return Selector(_SELECTORS[kind], value)


def lookup_response(verdict: Verdict) -> cache_pb2.LookupResponse:
    """What the semantic layer came to."""
    return cache_pb2.LookupResponse(
        outcome=_OUTCOMES[verdict.outcome],
        answer=None if verdict.entry is None else stored_answer(verdict.entry),
        score=verdict.probability,
        reason=verdict.reason,
        exploration_token=verdict.exploration_token,
        similarity=verdict.similarity,
        error_bound=verdict.error_bound,
    )


def explain_response(explanation: Explanation) -> cache_pb2.ExplainResponse:
    """What a lookup would come to, and each candidate."""
    return cache_pb2.ExplainResponse(
        outcome=_OUTCOMES[explanation.verdict.outcome],
        reason=explanation.verdict.reason,
        candidates=[
            cache_pb2.Candidate(
                entry_id=each.match.neighbour.entry_id,
                prompt=each.match.neighbour.prompt.text,
                cluster=each.match.neighbour.cluster,
                similarity=each.match.neighbour.similarity,
                score=each.probability,
                error_bound=each.error_bound,
                outcome=_OUTCOMES[each.outcome],
                reason=each.reason,
            )
            for each in explanation.judgements
        ],
    )


def _in_range(field: str, value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise InvalidArgumentError(field, value, f"in [{low}, {high}]")
    return value


def _check_answer(answer: cache_pb2.CachedAnswer) -> None:
    if not answer.choices:
        raise InvalidArgumentError("answer.choices", "nothing", "at least one")
    if not answer.model_revision:
        raise InvalidArgumentError("answer.model_revision", "", "the revision that gave the answer")
    check_storable("answer.model_revision", answer.model_revision)
    for index, choice in enumerate(answer.choices):
        if choice.finish_reason not in _COMPLETE:
            raise InvalidArgumentError(
                f"answer.choices[{index}].finish_reason", choice.finish_reason, "STOP or LENGTH: whole answers only"
            )


def _ttl_s(ttl: Duration, max_ttl_s: float) -> float:
    seconds = ttl.seconds + ttl.nanos / 1e9
    if not 0 < seconds <= max_ttl_s:
        raise InvalidArgumentError("ttl", f"{seconds:g} s", f"above 0 and at most {max_ttl_s:g} s")
    return seconds


def _check_name(field: str, value: str, max_bytes: int) -> None:
    size = len(value.encode())
    if not 1 <= size <= max_bytes:
        raise InvalidArgumentError(field, f"{size} bytes", f"1 to {max_bytes} bytes")
    check_storable(field, value)
