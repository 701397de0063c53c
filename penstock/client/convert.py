"""Protobuf messages of the server to the client's values. `*_pb2` types stop here."""

from collections.abc import Iterator
from enum import StrEnum
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration

from penstock.client.answer import (
    CacheOutcome,
    CacheReport,
    Delta,
    Event,
    Final,
    Finished,
    FinishReason,
    PromptLogprobs,
    ResolvedSampling,
    Started,
    Timings,
    TokenLogprobs,
    TopLogprob,
    Usage,
)
from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2

E = TypeVar("E", bound=StrEnum)

# The members stand in the order of the proto's numbers.
_FINISH_REASONS = tuple(FinishReason)
_CACHE_OUTCOMES = tuple(CacheOutcome)


def event_from_proto(response: inference_pb2.GenerateResponse) -> Event | None:
    """The event of one stream message; None for a kind that this client does not know (a newer server's)."""
    match response.WhichOneof("event"):
        case "started":
            return _started(response.started)
        case "prompt_logprobs":
            return _prompt_logprobs(response.prompt_logprobs)
        case "delta":
            return _delta(response.delta)
        case "finished":
            return _finished(response.finished)
        case "final":
            return _final(response.final)
    return None


def events_from_proto(response: inference_pb2.CompleteResponse) -> Iterator[Event]:
    """The events that a stream would have brought."""
    yield _started(response.started)
    yield _prompt_logprobs(response.prompt_logprobs)
    for choice in response.choices:
        yield _delta(choice.output)
        yield _finished(choice.finished)
    yield _final(response.final)


def usage_from_proto(message: types_pb2.Usage) -> Usage:
    """Counted tokens."""
    return Usage(message.prompt_tokens, message.completion_tokens, message.cached_prompt_tokens)


def seconds(duration: Duration) -> float:
    """A protobuf duration in seconds."""
    return duration.ToNanoseconds() / 1e9


def _member(members: tuple[E, ...], number: int) -> E:
    """The member of that number; the unspecified one for a number of a newer server."""
    return members[number] if 0 <= number < len(members) else members[0]


def _started(message: inference_pb2.Started) -> Started:
    return Started(
        request_id=message.request_id,
        model=message.model,
        model_revision=message.model_revision,
        replica=message.replica,
        routing_reason=message.routing_reason,
        cache=_cache(message.cache),
        sampling=_sampling(message.sampling),
        prompt_tokens=message.prompt_tokens,
        trace_id=message.trace_id,
        resume_token=message.resume_token,
    )


def _cache(message: inference_pb2.CacheReport) -> CacheReport:
    return CacheReport(
        outcome=_member(_CACHE_OUTCOMES, message.outcome),
        score=message.score if message.HasField("score") else None,
        max_error_rate=message.max_error_rate if message.HasField("max_error_rate") else None,
        reason=message.reason,
        similarity=message.similarity if message.HasField("similarity") else None,
        error_bound=message.error_bound if message.HasField("error_bound") else None,
    )


def _sampling(message: types_pb2.ResolvedSampling) -> ResolvedSampling:
    return ResolvedSampling(
        temperature=message.temperature,
        top_p=message.top_p,
        top_k=message.top_k,
        min_p=message.min_p,
        repetition_penalty=message.repetition_penalty,
        presence_penalty=message.presence_penalty,
        frequency_penalty=message.frequency_penalty,
        seed=message.seed,
        n=message.n,
        max_tokens=message.max_tokens,
        min_tokens=message.min_tokens,
        stop=tuple(message.stop),
        stop_token_ids=tuple(message.stop_token_ids),
        logit_bias=dict(message.logit_bias),
        logprobs=message.logprobs if message.HasField("logprobs") else None,
        prompt_logprobs=message.prompt_logprobs if message.HasField("prompt_logprobs") else None,
        ignore_eos=message.ignore_eos,
    )


def _delta(message: inference_pb2.Delta) -> Delta:
    return Delta(
        choice=message.choice,
        text=message.text,
        token_ids=tuple(message.token_ids),
        logprobs=tuple(_token_logprobs(item) for item in message.logprobs),
    )


def _prompt_logprobs(message: inference_pb2.PromptLogprobs) -> PromptLogprobs:
    return PromptLogprobs(tuple(_token_logprobs(token) for token in message.tokens))


def _token_logprobs(message: types_pb2.TokenLogprobs) -> TokenLogprobs:
    top = tuple(TopLogprob(item.token_id, item.logprob) for item in message.top)
    return TokenLogprobs(message.token_id, message.logprob, top)


def _finished(message: inference_pb2.Finished) -> Finished:
    return Finished(
        choice=message.choice,
        reason=_member(_FINISH_REASONS, message.reason),
        stop_string=message.stop_string if message.HasField("stop_string") else None,
        stop_token_id=message.stop_token_id if message.HasField("stop_token_id") else None,
    )


def _final(message: inference_pb2.Final) -> Final:
    return Final(
        usage=usage_from_proto(message.usage),
        timings=_timings(message.timings),
        num_resumed=message.num_resumed,
        is_exact_continuation=message.is_exact_continuation,
    )


def _timings(message: types_pb2.Timings) -> Timings:
    return Timings(
        admit_s=seconds(message.admit) if message.HasField("admit") else None,
        cache_s=seconds(message.cache) if message.HasField("cache") else None,
        tokenize_s=seconds(message.tokenize) if message.HasField("tokenize") else None,
        queue_s=seconds(message.queue) if message.HasField("queue") else None,
        prefill_s=seconds(message.prefill) if message.HasField("prefill") else None,
        decode_s=seconds(message.decode) if message.HasField("decode") else None,
        total_s=seconds(message.total) if message.HasField("total") else None,
        time_to_first_token_s=(
            seconds(message.time_to_first_token) if message.HasField("time_to_first_token") else None
        ),
    )
