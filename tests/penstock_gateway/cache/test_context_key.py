"""Another wording finds an answer exactly where nothing but the wording differs."""

from dataclasses import replace
from enum import Enum, auto
from typing import Any

import pytest
from fakes.gateway_deployment import SPEC
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock_gateway.cache.context_key import SemanticPart, semantic_part, why_exact_only
from penstock_gateway.convert import generation_request
from penstock_shared.directory import AdapterSpec, ModelSpec


class Kind(Enum):
    """What another value of a field does to a match by meaning."""

    EQUAL = auto()  # must be equal: another context
    COMPARED = auto()  # is what is compared
    RULED_OUT = auto()  # leaves the very same request only
    DELIVERY = auto()  # nothing


EQUAL, COMPARED, RULED_OUT, DELIVERY = Kind
CALL = types_pb2.ToolCall(id="7", name="f", arguments_json='{"a": 1}')
HISTORY = [
    types_pb2.ChatMessage(role="user", content="Hi"),
    types_pb2.ChatMessage(role="assistant", content="Hello", tool_calls=[CALL]),
]
# Another value for each field of the contract, and what it does. A field that is not here fails the first test below:
# decide whether an answer to another wording may differ in it, and give it a value here. "Turn" is a turn of the
# history, "Last" the last one.
FIELDS: dict[str, dict[str, tuple[Kind, Any]]] = {
    "GenerationRequest": {
        "model": (EQUAL, "other"),
        "input": (COMPARED, inference_pb2.Input(text="Hi!")),
        "sampling": (EQUAL, types_pb2.SamplingParams(temperature=0.5)),
        "constraint": (EQUAL, types_pb2.Constraint(regex="a+")),
        "adapter": (EQUAL, "law"),
        "criticality": (DELIVERY, types_pb2.CRITICALITY_CRITICAL),
        "cache": (EQUAL, inference_pb2.CachePolicy(scope="team")),
        "return_token_ids": (DELIVERY, True),  # its answer serves others; what it is told itself, the planner decides
        "echo": (DELIVERY, True),
    },
    "SamplingParams": {
        "temperature": (EQUAL, 0.5),
        "top_p": (EQUAL, 0.5),
        "top_k": (EQUAL, 5),
        "min_p": (EQUAL, 0.5),
        "repetition_penalty": (EQUAL, 1.5),
        "presence_penalty": (EQUAL, 0.5),
        "frequency_penalty": (EQUAL, 0.5),
        "seed": (RULED_OUT, 5),
        "n": (EQUAL, 2),
        "max_tokens": (EQUAL, 5),
        "min_tokens": (EQUAL, 5),
        "stop": (EQUAL, ["x"]),
        "stop_token_ids": (EQUAL, [5]),
        "logit_bias": (EQUAL, {5: 0.5}),
        "logprobs": (RULED_OUT, 0),
        "prompt_logprobs": (RULED_OUT, 0),
        "ignore_eos": (EQUAL, True),
    },
    "CachePolicy": {
        "mode": (DELIVERY, inference_pb2.CACHE_MODE_REFRESH),
        "ttl": (DELIVERY, Duration(seconds=5)),
        "tags": (DELIVERY, ["t"]),
        "max_error_rate": (DELIVERY, 0.5),
        "scope": (EQUAL, "team"),
    },
    "Input": {
        "text": (COMPARED, "Hi!"),
        "token_ids": (RULED_OUT, inference_pb2.TokenIds(ids=b"Hi")),
        "chat": (EQUAL, inference_pb2.Chat(messages=[types_pb2.ChatMessage(role="user", content="Hi")])),
    },
    "Chat": {
        "messages": (EQUAL, [types_pb2.ChatMessage(role="user", content="Hi")]),
        "tools": (EQUAL, [types_pb2.Tool(name="h")]),
    },
    "Turn": {
        "role": (EQUAL, "system"),
        "content": (EQUAL, "Ho"),
        "tool_calls": (EQUAL, [CALL]),
        "tool_call_id": (EQUAL, "7"),
        "name": (EQUAL, "Ann"),
    },
    "Last": {
        "role": (RULED_OUT, "assistant"),
        "content": (COMPARED, "Ho"),
        "tool_calls": (RULED_OUT, [CALL]),
        "tool_call_id": (RULED_OUT, "7"),
        "name": (EQUAL, "Ann"),
    },
    "Tool": {
        "name": (EQUAL, "g"),
        "description": (EQUAL, "d"),
        "parameters_json_schema": (EQUAL, '{"type": "object"}'),
    },
    "ToolCall": {"id": (DELIVERY, "8"), "name": (EQUAL, "g"), "arguments_json": (EQUAL, '{"a": 2}')},
}
MESSAGES: dict[str, type[Message]] = {
    "GenerationRequest": inference_pb2.GenerationRequest,
    "SamplingParams": types_pb2.SamplingParams,
    "CachePolicy": inference_pb2.CachePolicy,
    "Input": inference_pb2.Input,
    "Chat": inference_pb2.Chat,
    "Turn": types_pb2.ChatMessage,
    "Last": types_pb2.ChatMessage,
    "Tool": types_pb2.Tool,
    "ToolCall": types_pb2.ToolCall,
}
SPECS = {"": SPEC, "pocket": SPEC, "other": replace(SPEC, name="other", revision="revision-2")}


def base(name: str) -> inference_pb2.GenerationRequest:
    """A request in which that message stands."""
    text = inference_pb2.GenerationRequest(model="pocket", input=inference_pb2.Input(text="Hi"))
    if name in {"GenerationRequest", "SamplingParams", "CachePolicy", "Input"}:
        return text
    chat = inference_pb2.Chat(messages=HISTORY, tools=[types_pb2.Tool(name="f")])
    chat.messages.add(role="user", content="Hi")
    return inference_pb2.GenerationRequest(model="pocket", input=inference_pb2.Input(chat=chat))


def changed(name: str, field: str, value: Any) -> inference_pb2.GenerationRequest:
    """The same with another value of one field."""
    request = base(name)
    parts: dict[str, Any] = {
        "GenerationRequest": request,
        "SamplingParams": request.sampling,
        "CachePolicy": request.cache,
        "Input": request.input,
        "Chat": request.input.chat,
    }
    if name in {"Turn", "Last", "Tool", "ToolCall"}:
        chat = request.input.chat
        parts |= {
            "Turn": chat.messages[0],
            "Last": chat.messages[-1],
            "Tool": chat.tools[0],
            "ToolCall": chat.messages[1].tool_calls[0],
        }
    part = parts[name]
    if name == "Chat" and field == "messages":
        part.messages.insert(0, value[0])
    else:
        part.ClearField(field)
        part.MergeFrom(MESSAGES[name](**{field: value}))
    return request


def part_of(
    request: inference_pb2.GenerationRequest, *, tenant: str = "acme", spec: ModelSpec | None = None
) -> SemanticPart | None:
    """By what a request as it came over the wire is found; None: not by meaning."""
    asked, model = generation_request(request), spec or SPECS[request.model]
    if why_exact_only(asked, model):
        return None
    return semantic_part(asked, model, tenant=tenant, max_output_tokens=100)


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_of_the_contract_is_classified(name: str) -> None:
    """Whoever adds a field decides what it does to a match by meaning; nobody may forget to."""
    assert sorted(FIELDS[name]) == sorted(field.name for field in MESSAGES[name].DESCRIPTOR.fields)


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in FIELDS for field in FIELDS[name]])
def test_a_field_does_what_it_is_classified_as(name: str, field: str) -> None:
    """One that is overlooked is a wrong answer."""
    kind, value = FIELDS[name][field]
    plain, other = part_of(base(name)), part_of(changed(name, field, value))
    assert plain is not None
    seen = {
        Kind.RULED_OUT: other is None,
        Kind.EQUAL: other is not None and other.context_digest != plain.context_digest,
        Kind.COMPARED: other is not None
        and other.context_digest == plain.context_digest
        and other.prompt != plain.prompt,
        Kind.DELIVERY: other == plain,
    }
    assert [each for each, is_so in seen.items() if is_so] == [kind]


def test_what_is_compared_is_the_last_turn_or_the_text() -> None:
    """All before it must be equal."""
    chat = part_of(base("Chat"))
    text = part_of(inference_pb2.GenerationRequest(model="pocket", input=inference_pb2.Input(text="Once upon")))
    assert chat is not None
    assert text is not None
    assert (chat.prompt, text.prompt) == ("Hi", "Once upon")


@pytest.mark.parametrize("field", ["top_p", "top_k", "min_p", "seed"])
def test_what_decides_nothing_in_a_greedy_answer_need_not_be_equal(field: str) -> None:
    """Clients send such values by habit."""
    greedy = {"temperature": 0}
    plain, other = (
        part_of(inference_pb2.GenerationRequest(input=inference_pb2.Input(text="Hi"), sampling=sampling))
        for sampling in (greedy, greedy | {field: FIELDS["SamplingParams"][field][1]})
    )
    assert plain == other is not None


def test_a_greedy_answer_is_no_drawn_one() -> None:
    """Whoever samples wants what the temperature allows, and whoever does not, the likeliest."""
    drawn, greedy = (
        part_of(inference_pb2.GenerationRequest(input=inference_pb2.Input(text="Hi"), sampling={"temperature": value}))
        for value in (0.7, 0)
    )
    assert drawn is not None
    assert greedy is not None
    assert drawn.context_digest != greedy.context_digest


def test_one_conversation_told_in_two_ways_is_one_state() -> None:
    """Ids of calls are drawn anew in each run, and JSON may be written in many ways."""
    one, other = base("Chat"), base("Chat")
    for request, call_id, arguments in ((one, "a1", '{"b": 1, "a": [2]}'), (other, "z9", '{"a":[2],"b":1}')):
        chat = request.input.chat
        chat.messages[1].tool_calls[0].CopyFrom(types_pb2.ToolCall(id=call_id, name="f", arguments_json=arguments))
        chat.messages.insert(2, types_pb2.ChatMessage(role="tool", content="3", tool_call_id=call_id))
    assert part_of(one) == part_of(other) is not None


def test_an_answer_to_another_call_is_another_state() -> None:
    """Numbered calls still tell which one a tool answered."""
    states = []
    for answered in ("a", "b"):
        request = base("Chat")
        calls = [types_pb2.ToolCall(id=call_id, name="f", arguments_json="{}") for call_id in ("a", "b")]
        chat = request.input.chat
        chat.messages[1].CopyFrom(types_pb2.ChatMessage(role="assistant", tool_calls=calls))
        chat.messages.insert(2, types_pb2.ChatMessage(role="tool", content="3", tool_call_id=answered))
        states.append(part_of(request))
    assert states[0] != states[1]


@pytest.mark.parametrize("text", ['{"a":' * 100_000 + "1" + "}" * 100_000, "[" * 500_000, "{'a': 1}", '"\\ud800"'])
def test_arguments_that_are_no_json_are_text(text: str) -> None:
    """The tokenizer refuses such a request, but the lookup goes beside that and must not fail."""
    request = base("Chat")
    request.input.chat.messages[1].tool_calls[0].arguments_json = text
    assert part_of(request) is not None


@pytest.mark.parametrize("text", [" ", "\n\t"])
def test_where_there_is_no_text_nothing_is_compared(text: str) -> None:
    """All of nothing means the same."""
    assert part_of(inference_pb2.GenerationRequest(input=inference_pb2.Input(text=text))) is None
    assert part_of(changed("Last", "content", text)) is None


@pytest.mark.parametrize(
    "change",
    [{"revision": "2"}, {"tokenizer_fingerprint": "2"}, {"template_fingerprint": "2"}, {"eos_token_ids": (1,)}],
)
def test_another_models_answers_are_another_context(change: dict[str, Any]) -> None:
    """Everything of the model that decides about tokens."""
    assert part_of(base("Chat")) != part_of(base("Chat"), spec=replace(SPEC, **change))


def test_an_adapter_that_was_trained_further_is_another_context() -> None:
    """It keeps its name."""
    request = changed("GenerationRequest", "adapter", "law")
    assert part_of(request) != part_of(request, spec=replace(SPEC, adapters=(AdapterSpec("law", "law-2"),)))


def test_tenants_have_contexts_of_their_own() -> None:
    """Besides the store's own separation."""
    assert part_of(base("Chat")) != part_of(base("Chat"), tenant="other")


def test_a_digest_does_not_change_between_versions() -> None:
    """A store outlives the gateway; whoever changes this value loses every match by meaning, and raises _FORMAT."""
    found = part_of(base("Chat"))
    assert found is not None
    assert found.context_digest[:6].hex() == "41ceaad05e87"
