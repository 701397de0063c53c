"""Messages of any type, made by walking its descriptor: all fields, oneofs, maps, enums beyond their values.

Left to chance alone, hardly a request would be valid, and nothing behind validation would be reached. So each field
has a value that is likely to be good most of the time, and anything at all otherwise.
"""

from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

_INT32, _INT64 = (-(2**31), 2**31 - 1), (-(2**63), 2**63 - 1)
_UINT32, _UINT64 = (0, 2**32 - 1), (0, 2**64 - 1)
_RANGES = {
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_ENUM: _INT32,
}
_TOKEN_IDS = st.integers(0, 2047)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
).map(repr)
_TEXTS = st.one_of(
    st.sampled_from(
        ["Once upon a time", "What is the capital of France?", "2 + 2 =", "<|end|><|assistant|>", "\x00", " "]
    ),
    st.text(max_size=40),
    st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=4), st.integers(1, 3000)),
)
# Likely to be good, by the name of the field.
_HINTS: dict[str, st.SearchStrategy[Any]] = {
    "GenerationRequest.model": st.sampled_from(["", "pocket"]),
    "CountTokensRequest.model": st.sampled_from(["", "pocket"]),
    "Input.text": _TEXTS,
    "ChatMessage.role": st.sampled_from(["user", "user", "assistant", "system", "tool"]),
    "ChatMessage.content": _TEXTS,
    "ToolCall.arguments_json": st.sampled_from(["{}", '{"a": [1, "b"]}']) | _JSON,
    "Tool.parameters_json_schema": st.sampled_from(["{}", '{"type": "object"}']) | _JSON,
    "TokenIds.ids": _TOKEN_IDS,
    "SamplingParams.temperature": st.floats(0, 2),
    "SamplingParams.top_p": st.floats(0.1, 1),
    "SamplingParams.top_k": st.integers(0, 100),
    "SamplingParams.min_p": st.floats(0, 1),
    "SamplingParams.repetition_penalty": st.floats(0.1, 10),
    "SamplingParams.presence_penalty": st.floats(-2, 2),
    "SamplingParams.frequency_penalty": st.floats(-2, 2),
    "SamplingParams.n": st.integers(1, 4),
    "SamplingParams.max_tokens": st.integers(1, 60),
    "SamplingParams.min_tokens": st.integers(0, 5),
    "SamplingParams.stop": st.text(min_size=1, max_size=8),
    "SamplingParams.stop_token_ids": _TOKEN_IDS,
    "SamplingParams.logprobs": st.integers(0, 20),
    "SamplingParams.prompt_logprobs": st.integers(0, 20),
    "LogitBiasEntry.key": _TOKEN_IDS,
    "LogitBiasEntry.value": st.floats(-100, 100, width=32),
    "Duration.seconds": st.integers(0, 1000),
    "Duration.nanos": st.integers(0, 999_999_999),
    "CachePolicy.tags": st.text(min_size=1, max_size=8),
    "CachePolicy.scope": st.text(min_size=1, max_size=8),
    "CachePolicy.max_error_rate": st.floats(0, 1),
}
# A request that has one of these is refused by its name: seldom, so that others are reached.
_SELDOM = frozenset({"adapter", "echo"})
_LIKELY = frozenset({"request", "input"})
_ONE_IN = 30


@cache
def messages(descriptor: Descriptor) -> st.SearchStrategy[Any]:
    """Messages of that type."""
    return st.composite(_draw_message)(descriptor)


def _draw_message(draw: st.DrawFn, descriptor: Descriptor) -> Message:
    made = GetMessageClass(descriptor)()
    chosen = {
        oneof.name: draw(st.sampled_from(list(oneof.fields))) for oneof in descriptor.oneofs if len(oneof.fields) > 1
    }
    for field in descriptor.fields:
        oneof = field.containing_oneof
        if oneof is not None and chosen.get(oneof.name, field) is not field:
            continue
        if draw(_presence(field)):
            _fill(draw, made, field)
    return made


def _presence(field: FieldDescriptor) -> st.SearchStrategy[bool]:
    if field.name in _SELDOM:
        return st.integers(0, _ONE_IN).map(lambda number: number == _ONE_IN)
    if field.name in _LIKELY or (field.containing_oneof is not None and len(field.containing_oneof.fields) > 1):
        return st.integers(0, _ONE_IN).map(lambda number: number != _ONE_IN)
    return st.booleans()


def _fill(draw: st.DrawFn, made: Message, field: FieldDescriptor) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        getattr(made, field.name).update(draw(st.dictionaries(_values(key), _values(value), max_size=5)))
    elif field.is_repeated:
        getattr(made, field.name).extend(draw(_lists(field)))
    elif field.message_type is not None:
        getattr(made, field.name).CopyFrom(draw(messages(field.message_type)))
    else:
        setattr(made, field.name, draw(_values(field)))


def _lists(field: FieldDescriptor) -> st.SearchStrategy[list[Any]]:
    items = messages(field.message_type) if field.message_type is not None else _values(field)
    many = st.builds(lambda item, times: [item] * times, items, st.integers(10, 3000))
    return _mostly(st.lists(items, min_size=1, max_size=3), many)


@cache
def _values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Values of a field without parts."""
    hint = _HINTS.get(f"{field.containing_type.name}.{field.name}")
    if field.type == FieldDescriptor.TYPE_ENUM:
        hint = st.sampled_from([value.number for value in field.enum_type.values])
    return _anything(field) if hint is None else _mostly(hint, _anything(field))


def _anything(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type in _RANGES:
        least, most = _RANGES[field.type]
        return st.integers(least, most) | st.sampled_from([least, most, 0, 1])
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return st.floats(width=32)
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return st.floats()
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=100)
    assert field.type == FieldDescriptor.TYPE_STRING, f"no strategy for {field.full_name}"
    return st.text(max_size=300) | _TEXTS


def _mostly(usual: st.SearchStrategy[Any], otherwise: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, _ONE_IN).flatmap(lambda number: otherwise if number == _ONE_IN else usual)
