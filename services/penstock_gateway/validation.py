"""Cheap validation: everything about a request that can be told without tokenizing it.

The number of entries in its lists has been checked before (`message_counts.py`).
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from penstock_gateway.capabilities import Limits, refuse_unimplemented
from penstock_gateway.constraints.validation import check_constraint
from penstock_gateway.models import ModelCatalog
from penstock_gateway.requests import (
    CachePolicy,
    ChatInput,
    GenerationRequest,
    Input,
    SamplingRequest,
    TextInput,
    TokenInput,
)
from penstock_shared.directory import ModelSpec
from penstock_shared.errors import InvalidArgumentError, NotFoundError
from penstock_shared.storable import check_storable

# Text comes to about four bytes a token; only admission's estimate rests on it.
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Range:
    """A closed interval of numbers, or one open at its lower end."""

    minimum: float
    maximum: float
    excludes_minimum: bool = False

    def __str__(self) -> str:
        opening = "(" if self.excludes_minimum else "["
        if math.isinf(self.maximum):
            return f"at least {self.minimum:g}"
        return f"in {opening}{self.minimum:g}, {self.maximum:g}]"

    def __contains__(self, value: float) -> bool:
        """False for a NaN too, which compares with nothing."""
        return self.minimum <= value <= self.maximum and not (self.excludes_minimum and value == self.minimum)


_RANGES = {
    "temperature": Range(0, 2),
    "top_p": Range(0, 1, excludes_minimum=True),
    "top_k": Range(0, math.inf),
    "min_p": Range(0, 1),
    "repetition_penalty": Range(0, 10, excludes_minimum=True),
    "presence_penalty": Range(-2, 2),
    "frequency_penalty": Range(-2, 2),
}
_LOGIT_BIAS_RANGE = Range(-100, 100)


def validate_request(request: GenerationRequest, models: ModelCatalog, limits: Limits) -> tuple[ModelSpec, Input]:
    """Checks all fields and returns the model that is meant, and the input that is there.

    Raises:
        InvalidArgumentError: a field is out of its range.
        NotFoundError: no such model, or adapter of it.
        UnimplementedError: a field asks for what this server does not have.
    """
    spec = models.resolve(request.model, field="request.model")
    refuse_unimplemented(request)
    given = validate_input(request.input, spec, limits, field="request.input")
    _check_sampling(request.sampling, spec, limits)
    _check_cache(request.cache, limits)
    _check_adapter(request.adapter, spec)
    if request.constraint is not None:
        check_constraint(request.constraint, limits, field="request.constraint")
    return spec, given


def validate_input(given: Input | None, spec: ModelSpec, limits: Limits, *, field: str) -> Input:
    """Checks that there is an input, that it is not empty, and that its size is within bounds."""
    if given is None:
        raise InvalidArgumentError(field, "nothing", "exactly one of text, token_ids and chat")
    if isinstance(given, TokenInput):
        _check_token_input(given, spec, field=f"{field}.token_ids.ids")
        return given
    if isinstance(given, TextInput):
        _check_text_size(given, bool(given.text), limits, field=f"{field}.text")
    else:
        _check_text_size(given, bool(given.messages), limits, field=f"{field}.chat.messages")
    return given


def input_bytes(given: TextInput | ChatInput) -> int:
    """Bytes of all the text in an input."""
    if isinstance(given, TextInput):
        return _utf8_bytes(given.text)
    return sum(_utf8_bytes(text) for text in _texts(given))


def estimate_prompt_tokens(given: Input) -> int:
    """About how many prompt tokens an input comes to; exact where it is token ids."""
    if isinstance(given, TokenInput):
        return len(given.ids)
    return 1 + input_bytes(given) // _BYTES_PER_TOKEN


def check_prompt_length(num_tokens: int, spec: ModelSpec, *, field: str) -> None:
    """Raises where a prompt is empty or leaves no room for output in the model's context."""
    if num_tokens == 0:
        raise InvalidArgumentError(field, "0 tokens", "at least 1 token")
    if num_tokens >= spec.context_length:
        raise InvalidArgumentError(
            field,
            f"{num_tokens} tokens",
            f"at most {spec.context_length - 1} tokens (the context is {spec.context_length}, output included)",
        )


def _texts(chat: ChatInput) -> Iterator[str]:
    for message in chat.messages:
        yield from (message.role, message.content, message.tool_call_id or "", message.name or "")
        for call in message.tool_calls:
            yield from (call.id, call.name, call.arguments_json)
    for tool in chat.tools:
        yield from (tool.name, tool.description, tool.parameters_json_schema)


def _check_text_size(given: TextInput | ChatInput, has_content: bool, limits: Limits, *, field: str) -> None:
    if not has_content:
        raise InvalidArgumentError(field, "nothing", "at least one")
    size = input_bytes(given)
    if size > limits.max_input_bytes:
        raise InvalidArgumentError(field, f"{size} bytes", f"at most {limits.max_input_bytes} bytes")


def _check_token_input(given: TokenInput, spec: ModelSpec, *, field: str) -> None:
    check_prompt_length(len(given.ids), spec, field=field)
    _check_token_ids(given.ids, spec, field=field)


def _check_token_ids(ids: Iterable[int], spec: ModelSpec, *, field: str) -> None:
    largest = max(ids, default=0)
    if largest >= spec.vocab_size:
        raise InvalidArgumentError(field, largest, f"ids below {spec.vocab_size}")


def _check_sampling(sampling: SamplingRequest, spec: ModelSpec, limits: Limits) -> None:
    for name, allowed in _RANGES.items():
        _check(f"request.sampling.{name}", getattr(sampling, name), allowed)
    _check("request.sampling.n", sampling.n, Range(1, limits.max_choices))
    _check("request.sampling.max_tokens", sampling.max_tokens, Range(1, limits.max_output_tokens))
    most_min_tokens = sampling.max_tokens or limits.max_output_tokens
    _check("request.sampling.min_tokens", sampling.min_tokens, Range(0, most_min_tokens))
    for name in ("logprobs", "prompt_logprobs"):
        _check(f"request.sampling.{name}", getattr(sampling, name), Range(0, limits.max_logprobs))
    _check_stops(sampling, spec, limits)
    _check_logit_bias(sampling, spec)


def _check_stops(sampling: SamplingRequest, spec: ModelSpec, limits: Limits) -> None:
    for index, stop in enumerate(sampling.stop):
        _check(f"request.sampling.stop[{index}]", _utf8_bytes(stop), Range(1, limits.max_stop_bytes), unit="bytes")
    _check_token_ids(sampling.stop_token_ids, spec, field="request.sampling.stop_token_ids")


def _check_logit_bias(sampling: SamplingRequest, spec: ModelSpec) -> None:
    field = "request.sampling.logit_bias"
    _check_token_ids(sampling.logit_bias, spec, field=field)
    for token_id, bias in sampling.logit_bias.items():
        _check(f"{field}[{token_id}]", bias, _LOGIT_BIAS_RANGE)


def _check_cache(policy: CachePolicy, limits: Limits) -> None:
    _check("request.cache.ttl", policy.ttl_s, Range(0, limits.max_cache_ttl_s, excludes_minimum=True), unit="s")
    _check("request.cache.max_error_rate", policy.max_error_rate, Range(0, 1))
    for index, tag in enumerate(policy.tags):
        _check_name(f"request.cache.tags[{index}]", tag, limits.max_cache_tag_bytes)
    if policy.scope is not None:
        _check_name("request.cache.scope", policy.scope, limits.max_cache_scope_bytes)


def _check_adapter(name: str | None, spec: ModelSpec) -> None:
    if name is not None and spec.adapter(name) is None:
        known = [each.name for each in spec.adapters]
        raise NotFoundError("adapter", name, known, field="request.adapter")


def _check_name(field: str, name: str, max_bytes: int) -> None:
    _check(field, _utf8_bytes(name), Range(1, max_bytes), unit="bytes")
    check_storable(field, name)


def _check(field: str, value: float | None, allowed: Range, *, unit: str = "") -> None:
    if value is not None and value not in allowed:
        raise InvalidArgumentError(field, f"{value} {unit}" if unit else value, f"{allowed} {unit}".rstrip())


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
