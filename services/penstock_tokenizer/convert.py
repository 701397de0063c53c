"""Between the messages of `tokenizer.v1` and the service's own values."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn

from penstock.tokenizer.v1 import tokenizer_pb2
from penstock.types.v1 import types_pb2
from penstock_shared.errors import InvalidArgumentError
from penstock_tokenizer.catalog import TextModel
from penstock_tokenizer.chat import Chat, JsonValue, Message, Tool, ToolCall
from penstock_tokenizer.vocabulary import Vocabulary

_ENTRIES_PER_MESSAGE = 1024
_NO_PARAMETERS = '{"type": "object", "properties": {}}'


def chat_from_proto(request: tokenizer_pb2.RenderChatRequest) -> Chat:
    """The conversation of a request.

    Raises:
        InvalidArgumentError: a field that holds JSON text does not hold an object.
    """
    if request.continue_final_message and request.add_generation_prompt:
        raise InvalidArgumentError("continue_final_message", True, "only without add_generation_prompt")
    return Chat(
        messages=[_message(f"messages[{index}]", message) for index, message in enumerate(request.messages)],
        tools=[_tool(f"tools[{index}]", tool) for index, tool in enumerate(request.tools)],
        add_generation_prompt=request.add_generation_prompt,
        continue_final_message=request.continue_final_message,
    )


def sequences_to_proto(sequences: Iterable[Sequence[int]]) -> list[tokenizer_pb2.TokenSequence]:
    """Token ids, sequence by sequence."""
    return [tokenizer_pb2.TokenSequence(ids=ids) for ids in sequences]


def vocabulary_to_proto(model: TextModel, vocabulary: Vocabulary) -> Iterator[tokenizer_pb2.GetVocabularyResponse]:
    """The table in messages of a thousand entries; the header in the first."""
    header = tokenizer_pb2.VocabularyHeader(
        model=model.name,
        tokenizer_fingerprint=model.fingerprints.tokenizer,
        num_entries=len(vocabulary.entries),
        strips_leading_space=vocabulary.strips_leading_space,
    )
    for start in range(0, max(1, len(vocabulary.entries)), _ENTRIES_PER_MESSAGE):
        entries = vocabulary.entries[start : start + _ENTRIES_PER_MESSAGE]
        yield tokenizer_pb2.GetVocabularyResponse(
            header=header if start == 0 else None,
            entries=[
                tokenizer_pb2.VocabularyEntry(bytes=entry, is_special=token_id in vocabulary.special_ids)
                for token_id, entry in enumerate(entries, start)
            ],
        )


def _message(field: str, message: types_pb2.ChatMessage) -> Message:
    return Message(
        role=message.role,
        content=message.content,
        tool_calls=[
            ToolCall(call.id, call.name, _object(f"{field}.tool_calls[{index}].arguments_json", call.arguments_json))
            for index, call in enumerate(message.tool_calls)
        ],
        tool_call_id=message.tool_call_id if message.HasField("tool_call_id") else None,
        name=message.name if message.HasField("name") else None,
    )


def _tool(field: str, tool: types_pb2.Tool) -> Tool:
    schema = _object(f"{field}.parameters_json_schema", tool.parameters_json_schema or _NO_PARAMETERS)
    return Tool(tool.name, tool.description, schema)


def _object(field: str, text: str) -> JsonValue:
    try:
        value = json.loads(text or "{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(field, text, f"a JSON object ({error})") from error
    if not isinstance(value, dict):
        raise InvalidArgumentError(field, text, "a JSON object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
