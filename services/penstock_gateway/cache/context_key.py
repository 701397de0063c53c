"""What a match by meaning compares, and what it leaves no room in.

Compared is the last user turn of a chat, or a plain text. Everything else of the request that an answer depends on
must be equal and enters the context digest: the fields of `key_parts`, the conversation before the last turn, and the
sampling class. New fields enter by themselves.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstock_gateway.cache.key_parts import digest_of, fields_of, request_parts, sampling_parts
from penstock_gateway.cache.sampling_class import SamplingClass, sampling_class
from penstock_gateway.requests import ChatInput, ChatMessage, GenerationRequest, TextInput, Tool
from penstock_shared.directory import ModelSpec

# Changed whenever the same contexts get other digests.
_FORMAT = 1
# What decides nothing in a class; the rest must be equal.
_IRRELEVANT = {
    SamplingClass.GREEDY: frozenset({"temperature", "top_p", "top_k", "min_p", "seed"}),
    SamplingClass.SEEDED: frozenset[str](),
    SamplingClass.FREE: frozenset({"seed"}),
}


@dataclass(frozen=True, slots=True)
class SemanticPart:
    """By what an answer is found for a like prompt: `context_digest` must be equal, `prompt` is compared by meaning."""

    context_digest: bytes
    prompt: str


def why_exact_only(asked: GenerationRequest, spec: ModelSpec) -> str:
    """Why the answer is that of the very same request only; empty where it goes with another wording as well."""
    if sampling_class(asked, spec) is SamplingClass.SEEDED:
        return "a seed asks for its own sample"
    if asked.sampling.logprobs is not None or asked.sampling.prompt_logprobs is not None:
        return "the request asks for log probabilities"
    return _why_not_compared(asked)


def semantic_part(asked: GenerationRequest, spec: ModelSpec, *, tenant: str, max_output_tokens: int) -> SemanticPart:
    """What a request that `why_exact_only` has nothing against is found by."""
    prompt, context = _split_input(asked)
    kind = sampling_class(asked, spec)
    sampling = sampling_parts(asked, spec, max_output_tokens)
    digest = digest_of(
        request_parts(asked, spec, tenant=tenant)
        | {
            "context format": _FORMAT,
            "input": context,
            "sampling class": kind,
            "sampling": {name: value for name, value in sampling.items() if name not in _IRRELEVANT[kind]},
        }
    )
    return SemanticPart(digest, prompt)


def _why_not_compared(asked: GenerationRequest) -> str:
    """Why there is no one text whose meaning could be compared; empty where there is."""
    if isinstance(asked.input, TextInput):
        return "" if asked.input.text.strip() else "there is no text to compare"
    if not isinstance(asked.input, ChatInput):
        return "the prompt is not text"
    last = asked.input.messages[-1]
    if last.role != "user" or last.tool_calls or last.tool_call_id is not None:
        return "the last turn is not the user's"
    return "" if last.content.strip() else "there is no text to compare"


def _split_input(asked: GenerationRequest) -> tuple[str, list[Any]]:
    """The text that is compared, and all else of the input, canonical."""
    if isinstance(asked.input, TextInput):
        return asked.input.text, ["text", fields_of(asked.input, frozenset({"text"}))]
    assert isinstance(asked.input, ChatInput), "why_exact_only lets nothing else through"
    *history, last = asked.input.messages
    rest = fields_of(asked.input, frozenset({"messages", "tools"}))
    frame = fields_of(last, frozenset({"content"}))
    return last.content, ["chat", rest, frame, _history(history), [_tool(tool) for tool in asked.input.tools]]


def _history(turns: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """A conversation's state. Names of calls are drawn anew in each, so they are numbered; JSON is its values."""
    numbers: dict[str, int] = {}

    def number(call_id: str) -> int:
        return numbers.setdefault(call_id, len(numbers))

    def canonical(turn: ChatMessage) -> dict[str, Any]:
        calls = [
            fields_of(call) | {"id": number(call.id), "arguments_json": _json_values(call.arguments_json)}
            for call in turn.tool_calls
        ]
        answered = None if turn.tool_call_id is None else number(turn.tool_call_id)
        return fields_of(turn) | {"tool_calls": calls, "tool_call_id": answered}

    return [canonical(turn) for turn in turns]


def _tool(tool: Tool) -> dict[str, Any]:
    return fields_of(tool) | {"parameters_json_schema": _json_values(tool.parameters_json_schema)}


def _json_values(text: str) -> str:
    """The canonical form of JSON; of what is none, or too deep, the text itself."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return text
