"""The messages of `inference.v1`, to and from plain values. Messages stop here."""

from collections.abc import Sequence
from enum import IntEnum
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock_gateway.dispatch.worker_messages import resolved_sampling, seconds_of
from penstock_gateway.events import (
    CacheReport,
    Delta,
    Embedded,
    Event,
    Final,
    Finished,
    PromptLogprobs,
    Started,
    Timings,
    TokenLogprobs,
    Usage,
)
from penstock_gateway.models import ServedModel
from penstock_gateway.requests import (
    CacheMode,
    CachePolicy,
    ChatInput,
    ChatMessage,
    Criticality,
    EmbeddingOptions,
    EmbedRequest,
    GenerationRequest,
    Input,
    Pooling,
    SamplingRequest,
    TextInput,
    TokenInput,
    Tool,
    ToolCall,
)
from penstock_shared.constraint import constraint_of
from penstock_shared.directory import model_to_proto
from penstock_shared.errors import InvalidArgumentError

EnumT = TypeVar("EnumT", bound=IntEnum)

_OPTIONAL_SAMPLING_FIELDS = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "n",
        "max_tokens",
        "min_tokens",
        "logprobs",
        "prompt_logprobs",
        "ignore_eos",
    }
)


def generation_request(message: inference_pb2.GenerationRequest) -> GenerationRequest:
    """What a client asks for.

    Raises:
        InvalidArgumentError: an enum holds a value that is none of its own.
    """
    return GenerationRequest(
        model=message.model,
        input=request_input(message.input),
        sampling=_sampling_request(message.sampling),
        constraint=constraint_of(message.constraint),
        adapter=message.adapter if message.HasField("adapter") else None,
        criticality=_enum(message.criticality, Criticality, Criticality.STANDARD, "request.criticality"),
        cache=_cache_policy(message.cache),
        is_returning_token_ids=message.return_token_ids,
        is_echoing=message.echo,
    )


def embed_request(message: inference_pb2.EmbedRequest) -> EmbedRequest:
    """What a client wants vectors of.

    Raises:
        InvalidArgumentError: an enum holds a value that is none of its own.
    """
    pooling = _enum(message.pooling, Pooling, Pooling.LAST_TOKEN, "pooling")
    return EmbedRequest(
        model=message.model,
        inputs=tuple(request_input(given) for given in message.inputs),
        options=EmbeddingOptions(pooling, message.normalize),
        criticality=_enum(message.criticality, Criticality, Criticality.STANDARD, "criticality"),
    )


def embed_response(vectors: Sequence[Sequence[float]], usage: Usage) -> inference_pb2.EmbedResponse:
    """The vectors, in the order of the inputs."""
    return inference_pb2.EmbedResponse(
        embeddings=[inference_pb2.Embedding(values=vector) for vector in vectors], usage=_usage(usage)
    )


def request_input(message: inference_pb2.Input) -> Input | None:
    """The input, where there is one."""
    kind = message.WhichOneof("kind")
    if kind == "text":
        return TextInput(message.text)
    if kind == "token_ids":
        return TokenInput(tuple(message.token_ids.ids))
    if kind == "chat":
        return _chat_input(message.chat)
    return None


def generate_response(event: Event) -> inference_pb2.GenerateResponse:
    """One event of a stream."""
    if isinstance(event, Delta):
        return inference_pb2.GenerateResponse(delta=_delta(event))
    if isinstance(event, Finished):
        return inference_pb2.GenerateResponse(finished=_finished(event))
    if isinstance(event, PromptLogprobs):
        return inference_pb2.GenerateResponse(prompt_logprobs=_prompt_logprobs(event))
    assert isinstance(event, Started), "a vector is no event of a stream"
    return inference_pb2.GenerateResponse(started=_started(event))


def final_response(final: Final) -> inference_pb2.GenerateResponse:
    """The last event of a stream."""
    return inference_pb2.GenerateResponse(final=_final(final))


def complete_response(events: Sequence[Event], final: Final) -> inference_pb2.CompleteResponse:
    """A whole answer in one message, its choices in order."""
    response = inference_pb2.CompleteResponse(final=_final(final))
    choices: dict[int, inference_pb2.Choice] = {}
    for event in events:
        if isinstance(event, Started):
            response.started.CopyFrom(_started(event))
            continue
        if isinstance(event, PromptLogprobs):
            response.prompt_logprobs.MergeFrom(_prompt_logprobs(event))
            continue
        assert not isinstance(event, Embedded), "a vector is no event of an answer"
        choice = choices.setdefault(event.choice, inference_pb2.Choice())
        if isinstance(event, Delta):
            choice.output.CopyFrom(_delta(event))
        else:
            choice.output.choice = event.choice
            choice.finished.CopyFrom(_finished(event))
    response.choices.extend(choices[index] for index in sorted(choices))
    return response


def model_info(model: ServedModel, num_ready_replicas: int) -> inference_pb2.ModelInfo:
    """One entry of `ListModels`."""
    first_seen = Timestamp()
    first_seen.FromNanoseconds(int(model.first_seen_s * 1e9))
    return inference_pb2.ModelInfo(
        spec=model_to_proto(model.spec), num_ready_replicas=num_ready_replicas, create_time=first_seen
    )


def duration(nanoseconds: int) -> Duration:
    """A duration as a message."""
    message = Duration()
    message.FromNanoseconds(nanoseconds)
    return message


def _sampling_request(message: types_pb2.SamplingParams) -> SamplingRequest:
    fields = ((field.name, value) for field, value in message.ListFields())
    present = {name: value for name, value in fields if name in _OPTIONAL_SAMPLING_FIELDS}
    return SamplingRequest(
        stop=tuple(message.stop),
        stop_token_ids=tuple(message.stop_token_ids),
        logit_bias=dict(message.logit_bias),
        **present,
    )


def _cache_policy(message: inference_pb2.CachePolicy) -> CachePolicy:
    return CachePolicy(
        mode=_enum(message.mode, CacheMode, CacheMode.USE, "request.cache.mode"),
        ttl_s=seconds_of(message.ttl) if message.HasField("ttl") else None,
        tags=tuple(message.tags),
        max_error_rate=message.max_error_rate if message.HasField("max_error_rate") else None,
        scope=message.scope if message.HasField("scope") else None,
    )


def _chat_input(message: inference_pb2.Chat) -> ChatInput:
    tools = (Tool(tool.name, tool.description, tool.parameters_json_schema) for tool in message.tools)
    return ChatInput(tuple(_chat_message(turn) for turn in message.messages), tuple(tools))


def _chat_message(message: types_pb2.ChatMessage) -> ChatMessage:
    return ChatMessage(
        role=message.role,
        content=message.content,
        tool_calls=tuple(ToolCall(call.id, call.name, call.arguments_json) for call in message.tool_calls),
        tool_call_id=message.tool_call_id if message.HasField("tool_call_id") else None,
        name=message.name if message.HasField("name") else None,
    )


def _enum(value: int, kind: type[EnumT], unspecified: EnumT, field: str) -> EnumT:
    if value == 0:
        return unspecified
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(f"{member.value} ({member.name})" for member in kind)
        raise InvalidArgumentError(field, value, names) from None


def _started(event: Started) -> inference_pb2.Started:
    return inference_pb2.Started(
        request_id=event.request_id,
        model=event.model,
        model_revision=event.model_revision,
        replica=event.replica,
        routing_reason=event.routing_reason,
        cache=_cache_report(event.cache),
        sampling=resolved_sampling(event.sampling),
        trace_id=event.trace_id,
        prompt_tokens=event.prompt_tokens,
    )


def _cache_report(report: CacheReport) -> inference_pb2.CacheReport:
    return inference_pb2.CacheReport(
        outcome=inference_pb2.CacheOutcome.ValueType(report.outcome.value),
        score=report.score,
        max_error_rate=report.max_error_rate,
        reason=report.reason,
        similarity=report.similarity,
        error_bound=report.error_bound,
    )


def _delta(event: Delta) -> inference_pb2.Delta:
    if not event.logprobs:
        return inference_pb2.Delta(choice=event.choice, text=event.text, token_ids=event.token_ids)
    return inference_pb2.Delta(
        choice=event.choice,
        text=event.text,
        token_ids=event.token_ids,
        logprobs=[_token_logprobs(token) for token in event.logprobs],
    )


def _prompt_logprobs(event: PromptLogprobs) -> inference_pb2.PromptLogprobs:
    return inference_pb2.PromptLogprobs(tokens=[_token_logprobs(token) for token in event.tokens])


def _token_logprobs(token: TokenLogprobs) -> types_pb2.TokenLogprobs:
    top = [types_pb2.TopLogprob(token_id=token_id, logprob=logprob) for token_id, logprob in token.top]
    return types_pb2.TokenLogprobs(token_id=token.token_id, logprob=token.logprob, top=top)


def _finished(event: Finished) -> inference_pb2.Finished:
    message = inference_pb2.Finished(choice=event.choice, reason=types_pb2.FinishReason.ValueType(event.reason.value))
    if event.stop_string is not None:
        message.stop_string = event.stop_string
    elif event.stop_token_id is not None:
        message.stop_token_id = event.stop_token_id
    return message


def _final(final: Final) -> inference_pb2.Final:
    return inference_pb2.Final(
        usage=_usage(final.usage),
        timings=_timings(final.timings),
        num_resumed=final.num_resumed,
        is_exact_continuation=final.is_exact_continuation,
    )


def _usage(usage: Usage) -> types_pb2.Usage:
    return types_pb2.Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_prompt_tokens=usage.cached_prompt_tokens,
    )


def _timings(timings: Timings) -> types_pb2.Timings:
    to_first = timings.time_to_first_token_ns
    return types_pb2.Timings(
        admit=duration(timings.admit_ns),
        cache=duration(timings.cache_ns),
        tokenize=duration(timings.tokenize_ns),
        queue=duration(timings.queue_ns),
        prefill=duration(timings.prefill_ns),
        decode=duration(timings.decode_ns),
        total=duration(timings.total_ns),
        time_to_first_token=None if to_first is None else duration(to_first),
    )
