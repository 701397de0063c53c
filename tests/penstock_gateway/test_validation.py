"""Bad fields are told by name, value and what is allowed, before anything is spent on the request."""

import math
from dataclasses import fields, replace

import pytest
from fakes.gateway_deployment import CONTEXT_LENGTH, MODEL, SPEC

from penstock_gateway.capabilities import Limits
from penstock_gateway.models import ModelCatalog
from penstock_gateway.requests import (
    CachePolicy,
    ChatInput,
    ChatMessage,
    GenerationRequest,
    SamplingRequest,
    TextInput,
    TokenInput,
    Tool,
    ToolCall,
)
from penstock_gateway.validation import check_prompt_length, estimate_prompt_tokens, validate_request
from penstock_shared.directory import Directory
from penstock_shared.errors import InvalidArgumentError, NotFoundError

LIMITS = Limits(max_input_bytes=100, max_output_tokens=50)
GOOD = GenerationRequest(model=MODEL, input=TextInput("Hi"))


@pytest.fixture
def models() -> ModelCatalog:
    """One model."""
    catalog = ModelCatalog(lambda: 0.0)
    catalog.update(Directory(1, (SPEC,)))
    return catalog


BAD_SAMPLING = [
    ("temperature", -0.1),
    ("temperature", 2.1),
    ("temperature", math.nan),
    ("temperature", math.inf),
    ("top_p", 0.0),
    ("top_p", 1.01),
    ("top_k", -1),
    ("min_p", -0.1),
    ("min_p", 1.1),
    ("repetition_penalty", 0.0),
    ("repetition_penalty", 10.5),
    ("presence_penalty", -2.1),
    ("frequency_penalty", 2.1),
    ("n", 0),
    ("n", 17),
    ("max_tokens", 0),
    ("max_tokens", 51),
    ("min_tokens", -1),
    ("min_tokens", 51),
    ("logprobs", -1),
    ("logprobs", 21),
    ("prompt_logprobs", -1),
    ("prompt_logprobs", 21),
    ("stop_token_ids", (SPEC.vocab_size,)),
    ("logit_bias", dict.fromkeys(range(257), 0.0) | {SPEC.vocab_size: 0.0}),
]
GOOD_SAMPLING = [
    ("temperature", 0.0),
    ("temperature", 2.0),
    ("top_p", 1.0),
    ("top_k", 0),
    ("min_p", 1.0),
    ("repetition_penalty", 10.0),
    ("presence_penalty", -2.0),
    ("n", 16),
    ("max_tokens", 50),
    ("logprobs", 0),
    ("prompt_logprobs", 20),
    ("stop", ("x" * 256,) * 16),
    ("stop_token_ids", (SPEC.vocab_size - 1,)),
    ("logit_bias", {0: -100.0, 1: 100.0}),
]


@pytest.mark.parametrize(("name", "value"), BAD_SAMPLING)
def test_a_sampling_field_out_of_range_is_named(models: ModelCatalog, name: str, value: object) -> None:
    """The documented range of every field, just outside of it."""
    request = replace(GOOD, sampling=SamplingRequest(**{name: value}))
    with pytest.raises(InvalidArgumentError) as caught:
        validate_request(request, models, LIMITS)
    assert caught.value.field == f"request.sampling.{name}"
    assert "allowed: " in caught.value.message


@pytest.mark.parametrize(("name", "value"), GOOD_SAMPLING)
def test_the_ends_of_the_ranges_are_allowed(models: ModelCatalog, name: str, value: object) -> None:
    """The same, just inside."""
    request = replace(GOOD, sampling=SamplingRequest(**{name: value}))
    assert validate_request(request, models, LIMITS) == (SPEC, TextInput("Hi"))


def test_every_sampling_field_with_a_range_is_tested() -> None:
    """A new field must not slip past validation."""
    free = {"seed", "ignore_eos", "stop"}
    assert {name for name, _ in BAD_SAMPLING} | free == {field.name for field in fields(SamplingRequest)}


@pytest.mark.parametrize(
    ("sampling", "field"),
    [
        (SamplingRequest(stop=("ok", "")), "request.sampling.stop[1]"),
        (SamplingRequest(stop=("é" * 129,)), "request.sampling.stop[0]"),
        (SamplingRequest(logit_bias={7: 100.5}), "request.sampling.logit_bias[7]"),
        (SamplingRequest(logit_bias={7: math.nan}), "request.sampling.logit_bias[7]"),
        (SamplingRequest(max_tokens=5, min_tokens=6), "request.sampling.min_tokens"),
    ],
)
def test_an_element_out_of_range_is_named_by_its_place(
    models: ModelCatalog, sampling: SamplingRequest, field: str
) -> None:
    """Among 16 stop strings the caller must not have to search."""
    with pytest.raises(InvalidArgumentError) as caught:
        validate_request(replace(GOOD, sampling=sampling), models, LIMITS)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (None, "request.input"),
        (TextInput(""), "request.input.text"),
        (TextInput("é" * 51), "request.input.text"),
        (ChatInput(()), "request.input.chat.messages"),
        (ChatInput((ChatMessage("user", "x" * 101),)), "request.input.chat.messages"),
        (TokenInput(()), "request.input.token_ids.ids"),
        (TokenInput((1, SPEC.vocab_size)), "request.input.token_ids.ids"),
        (TokenInput((1,) * CONTEXT_LENGTH), "request.input.token_ids.ids"),
    ],
)
def test_a_bad_input_is_named(models: ModelCatalog, given: object, field: str) -> None:
    """Sizes are bytes, not characters."""
    with pytest.raises(InvalidArgumentError) as caught:
        validate_request(replace(GOOD, input=given), models, LIMITS)
    assert caught.value.field == field


def test_an_unknown_model_is_told_with_those_there_are(models: ModelCatalog) -> None:
    """A typing error is then mended at a glance."""
    with pytest.raises(NotFoundError, match="no model 'poket'; there is: pocket"):
        validate_request(replace(GOOD, model="poket"), models, LIMITS)


def test_the_only_model_needs_no_name_but_one_of_several_does(models: ModelCatalog) -> None:
    """Guessing between two would answer from the wrong one."""
    assert validate_request(replace(GOOD, model=""), models, LIMITS)[0] is SPEC
    models.update(Directory(2, (SPEC, replace(SPEC, name="other"))))
    with pytest.raises(InvalidArgumentError, match="other, pocket"):
        validate_request(replace(GOOD, model=""), models, LIMITS)


def test_a_prompt_needs_a_token_and_leaves_room_for_one() -> None:
    """A prompt that fills the context could not be answered."""
    check_prompt_length(CONTEXT_LENGTH - 1, SPEC, field="f")
    with pytest.raises(InvalidArgumentError, match=f"{CONTEXT_LENGTH} tokens.*at most {CONTEXT_LENGTH - 1}"):
        check_prompt_length(CONTEXT_LENGTH, SPEC, field="f")
    with pytest.raises(InvalidArgumentError):
        check_prompt_length(0, SPEC, field="f")


def test_prompt_tokens_are_estimated_from_bytes() -> None:
    """Admission happens before tokenization."""
    assert estimate_prompt_tokens(TokenInput((1, 2, 3))) == 3
    assert estimate_prompt_tokens(TextInput("x" * 400)) == 101
    assert estimate_prompt_tokens(ChatInput((ChatMessage("user", "x" * 200), ChatMessage("user", "x" * 200)))) == 103


BAD_POLICIES = [
    (CachePolicy(ttl_s=0.0), "request.cache.ttl: got '0.0 s'; allowed: in (0, 7.776e+06] s"),
    (CachePolicy(ttl_s=8e6), "request.cache.ttl: got '8000000.0 s'"),
    (CachePolicy(tags=("t", "")), "request.cache.tags[1]: got '0 bytes'; allowed: in [1, 128] bytes"),
    (CachePolicy(tags=("t", "a\0b")), "request.cache.tags[1]: got 'a\\x00b'; allowed: text without NUL characters"),
    (CachePolicy(scope="a\0b"), "request.cache.scope: got 'a\\x00b'; allowed: text without NUL characters"),
    (CachePolicy(tags=("é" * 65,)), "request.cache.tags[0]: got '130 bytes'"),
    (CachePolicy(max_error_rate=-0.1), "request.cache.max_error_rate: got -0.1; allowed: in [0, 1]"),
    (CachePolicy(max_error_rate=1.5), "request.cache.max_error_rate: got 1.5; allowed: in [0, 1]"),
    (CachePolicy(max_error_rate=math.nan), "request.cache.max_error_rate: got nan; allowed: in [0, 1]"),
    (CachePolicy(scope=""), "request.cache.scope: got '0 bytes'; allowed: in [1, 256] bytes"),
]


@pytest.mark.parametrize(("policy", "line"), BAD_POLICIES)
def test_a_bad_cache_policy_is_told(models: ModelCatalog, policy: CachePolicy, line: str) -> None:
    """The cache would refuse it later, when nobody listens any more."""
    with pytest.raises(InvalidArgumentError) as caught:
        validate_request(replace(GOOD, cache=policy), models, LIMITS)
    assert caught.value.message.startswith(line)


@pytest.mark.parametrize(
    "chat",
    [
        ChatInput((ChatMessage("x" * 101, "Hi"),)),
        ChatInput((ChatMessage("tool", "Hi", tool_call_id="x" * 101),)),
        ChatInput((ChatMessage("user", "Hi", name="é" * 51),)),
        ChatInput((ChatMessage("assistant", "", tool_calls=(ToolCall("x" * 101, "f", "{}"),)),)),
        ChatInput((ChatMessage("assistant", "", tool_calls=(ToolCall("1", "x" * 101, "{}"),)),)),
        ChatInput((ChatMessage("assistant", "", tool_calls=(ToolCall("1", "f", "x" * 101),)),)),
        ChatInput((ChatMessage("user", "Hi"),), (Tool("x" * 101, "", ""),)),
        ChatInput((ChatMessage("user", "Hi"),), (Tool("f", "x" * 101, ""),)),
        ChatInput((ChatMessage("user", "Hi"),), (Tool("f", "", "x" * 101),)),
    ],
)
def test_every_text_of_a_chat_counts(models: ModelCatalog, chat: ChatInput) -> None:
    """What is not counted is where the next 10 MB come in."""
    with pytest.raises(InvalidArgumentError, match=r"bytes'; allowed: at most 100 bytes"):
        validate_request(replace(GOOD, input=chat), models, LIMITS)
