"""Two requests share an answer exactly where nothing that the answer depends on differs."""

from dataclasses import replace
from typing import Any

import pytest
from fakes.gateway_deployment import SPEC
from google.protobuf.descriptor import Descriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock_gateway.cache.answer_key import answer_digest
from penstock_gateway.convert import generation_request
from penstock_shared.directory import AdapterSpec, ModelSpec, SamplingDefaults

_OTHER_CHAT = inference_pb2.Chat(messages=[types_pb2.ChatMessage(role="user", content="Hi")])
# Another value for each field of the contract. A field that is in none of these tables fails the test below: decide
# whether the answer depends on it, and give it a value here.
PART_OF_THE_KEY: dict[str, dict[str, Any]] = {
    "GenerationRequest": {
        "model": "other",
        "input": inference_pb2.Input(text="Hi!"),
        "sampling": types_pb2.SamplingParams(temperature=0.5),
        "constraint": types_pb2.Constraint(regex="a+"),
        "adapter": "lora",
        "cache": inference_pb2.CachePolicy(scope="team"),
    },
    "SamplingParams": {
        "temperature": 0.5,
        "top_p": 0.5,
        "top_k": 5,
        "min_p": 0.5,
        "repetition_penalty": 1.5,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.5,
        "seed": 5,
        "n": 2,
        "max_tokens": 5,
        "min_tokens": 5,
        "stop": ["x"],
        "stop_token_ids": [5],
        "logit_bias": {5: 0.5},
        "logprobs": 5,
        "prompt_logprobs": 5,
        "ignore_eos": True,
    },
    "CachePolicy": {"scope": "team"},
    "Input": {"text": "Hi!", "token_ids": inference_pb2.TokenIds(ids=b"Hi"), "chat": _OTHER_CHAT},
    "Chat": {"messages": [types_pb2.ChatMessage(role="user")], "tools": [types_pb2.Tool(name="f")]},
    "ChatMessage": {
        "role": "user",
        "content": "Hi",
        "tool_calls": [types_pb2.ToolCall(name="f")],
        "tool_call_id": "1",
        "name": "Ann",
    },
    "Tool": {"name": "f", "description": "d", "parameters_json_schema": "{}"},
    "ToolCall": {"id": "1", "name": "f", "arguments_json": "{}"},
}
DELIVERY: dict[str, dict[str, Any]] = {
    "GenerationRequest": {"criticality": types_pb2.CRITICALITY_CRITICAL, "return_token_ids": True, "echo": True},
    "CachePolicy": {
        "mode": inference_pb2.CACHE_MODE_REFRESH,
        "ttl": Duration(seconds=5),
        "tags": ["t"],
        "max_error_rate": 0.5,
    },
}
MESSAGES: dict[str, type[Message]] = {
    "GenerationRequest": inference_pb2.GenerationRequest,
    "SamplingParams": types_pb2.SamplingParams,
    "CachePolicy": inference_pb2.CachePolicy,
    "Input": inference_pb2.Input,
    "Chat": inference_pb2.Chat,
    "ChatMessage": types_pb2.ChatMessage,
    "Tool": types_pb2.Tool,
    "ToolCall": types_pb2.ToolCall,
}
SPECS = {"": SPEC, "pocket": SPEC, "other": replace(SPEC, name="other", revision="revision-2")}


def within(name: str, message: Message) -> inference_pb2.GenerationRequest:
    """A request around one of its parts."""
    request = inference_pb2.GenerationRequest(model="pocket", input=inference_pb2.Input(text="Hi"))
    wraps: dict[str, Any] = {
        "SamplingParams": lambda: request.sampling.MergeFrom(message),
        "CachePolicy": lambda: request.cache.MergeFrom(message),
        "Input": lambda: request.input.CopyFrom(message),
        "Chat": lambda: request.input.chat.CopyFrom(message),
        "ChatMessage": lambda: request.input.chat.messages.add().CopyFrom(message),
        "Tool": lambda: request.input.chat.tools.add().CopyFrom(message),
        "ToolCall": lambda: request.input.chat.messages.add().tool_calls.add().CopyFrom(message),
        "GenerationRequest": lambda: request.MergeFrom(message),
    }
    wraps[name]()
    return request


def digest(request: inference_pb2.GenerationRequest, tenant: str = "acme", spec: ModelSpec | None = None) -> bytes:
    """The key of a request as it came over the wire."""
    model = spec or SPECS[request.model]
    return answer_digest(generation_request(request), model, tenant=tenant, max_output_tokens=100)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_of_the_contract_is_classified(name: str) -> None:
    """Whoever adds a field decides whether answers depend on it; nobody may forget to."""
    descriptor: Descriptor = MESSAGES[name].DESCRIPTOR
    classified = [*PART_OF_THE_KEY[name], *DELIVERY.get(name, {})]
    assert sorted(classified) == sorted(field.name for field in descriptor.fields)


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in MESSAGES for field in PART_OF_THE_KEY[name]])
def test_what_the_answer_depends_on_is_part_of_the_key(name: str, field: str) -> None:
    """A difference that the key overlooks is a wrong answer."""
    plain, changed = (within(name, MESSAGES[name](**fields)) for fields in ({}, {field: PART_OF_THE_KEY[name][field]}))
    assert digest(plain) != digest(changed)


def test_constraints_of_one_kind_differ_by_their_text() -> None:
    """An answer that conforms to another schema is a wrong one."""
    constraints = [
        types_pb2.Constraint(regex="a+"),
        types_pb2.Constraint(regex="b+"),
        types_pb2.Constraint(grammar="a+"),
        types_pb2.Constraint(choice={"options": ["a+"]}),
        types_pb2.Constraint(choice={"options": ["a+", "b"]}),
    ]
    digests = {digest(inference_pb2.GenerationRequest(model="pocket", constraint=each)) for each in constraints}
    assert len(digests) == len(constraints)


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in DELIVERY for field in DELIVERY[name]])
def test_how_an_answer_is_delivered_is_not(name: str, field: str) -> None:
    """A difference that the key should overlook costs a hit."""
    plain, changed = (within(name, MESSAGES[name](**fields)) for fields in ({}, {field: DELIVERY[name][field]}))
    assert digest(plain) == digest(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"revision": "revision-2"},
        {"tokenizer_fingerprint": "t2"},
        {"template_fingerprint": "t2"},
        {"context_length": 5},
        {"eos_token_ids": (1,)},
        {"sampling_defaults": SamplingDefaults(top_k=7)},
    ],
)
def test_an_answer_of_another_model_is_another_answer(change: dict[str, Any]) -> None:
    """Everything of the model that decides about tokens."""
    request = within("Input", inference_pb2.Input(text="Hi"))
    assert digest(request) != digest(request, spec=replace(SPEC, **change))


def test_an_answer_of_another_revision_of_an_adapter_is_another_answer() -> None:
    """An adapter that was trained further keeps its name."""
    request = within("GenerationRequest", inference_pb2.GenerationRequest(adapter="law"))
    further = replace(SPEC, adapters=(AdapterSpec("law", "law-2"),))
    assert digest(request) != digest(request, spec=further)
    assert digest(request) == digest(request, spec=replace(SPEC, adapters=SPEC.adapters[:1]))


def test_tenants_have_keys_of_their_own() -> None:
    """Besides the store's own separation."""
    request = within("Input", inference_pb2.Input(text="Hi"))
    assert digest(request, "acme") != digest(request, "other")


def test_a_default_and_the_same_value_sent_are_one_request() -> None:
    """The key is of the resolved request."""
    defaults = SPEC.sampling_defaults
    sent = types_pb2.SamplingParams(temperature=defaults.temperature, top_p=defaults.top_p, n=1, max_tokens=100)
    empty = within("SamplingParams", types_pb2.SamplingParams(max_tokens=100))
    assert digest(empty) == digest(within("SamplingParams", sent)) != digest(within("Input", inference_pb2.Input()))


def test_a_digest_does_not_change_between_versions() -> None:
    """A store outlives the gateway; whoever changes this value loses every stored answer, and raises _FORMAT."""
    request = within("SamplingParams", types_pb2.SamplingParams(temperature=0, logit_bias={2: 0.5, 1: 1}))
    assert digest(request).hex() == "1e8b70d2e5bbe31c450b15199715731f531809d04c0ae32132c8b0bb8a530f70"
