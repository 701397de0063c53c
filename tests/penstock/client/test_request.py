"""What a caller's options become on the wire."""

from typing import Any

import pytest

from penstock.client.answer import CacheOutcome, FinishReason
from penstock.client.errors import InvalidArgumentError
from penstock.client.options import GenerationOptions, SamplingOptions
from penstock.client.request import count_request, generation_request
from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2


def build(prompt: str | None = "go", **options: Any) -> inference_pb2.GenerationRequest:
    """A request from loosely typed options, as an untyped caller makes it."""
    return generation_request(prompt, options)  # type: ignore[arg-type]


def test_absent_options_are_absent_on_the_wire() -> None:
    """Zero is not the default: an unset temperature must reach the server unset."""
    request = build()
    assert request == inference_pb2.GenerationRequest(
        input=inference_pb2.Input(text="go"), sampling=types_pb2.SamplingParams()
    )
    assert not request.sampling.HasField("temperature")


def test_every_sampling_option_lands_in_its_field() -> None:
    """Each option of the contract can be set, and zero is sent as zero."""
    sampling = build(
        temperature=0,
        top_p=0.5,
        top_k=4,
        min_p=0.25,
        repetition_penalty=1.5,
        presence_penalty=-1.0,
        frequency_penalty=1.0,
        seed=2**64 - 1,
        n=2,
        max_tokens=7,
        min_tokens=1,
        stop=["a", "b"],
        stop_token_ids=[3, 4],
        logit_bias={5: -100.0},
        logprobs=0,
        prompt_logprobs=1,
        ignore_eos=True,
    ).sampling
    assert sampling == types_pb2.SamplingParams(
        temperature=0.0,
        top_p=0.5,
        top_k=4,
        min_p=0.25,
        repetition_penalty=1.5,
        presence_penalty=-1.0,
        frequency_penalty=1.0,
        seed=2**64 - 1,
        n=2,
        max_tokens=7,
        min_tokens=1,
        stop=["a", "b"],
        stop_token_ids=[3, 4],
        logit_bias={5: -100.0},
        logprobs=0,
        prompt_logprobs=1,
        ignore_eos=True,
    )


def test_options_name_exactly_the_fields_of_the_contract() -> None:
    """A sampling field added to the proto must be given to users too."""
    assert SamplingOptions.__annotations__.keys() == set(types_pb2.SamplingParams.DESCRIPTOR.fields_by_name)


def test_enums_name_the_members_of_the_contract_in_its_order() -> None:
    """The client reads enum numbers by position."""
    reasons = [value.name.removeprefix("FINISH_REASON_").lower() for value in types_pb2.FinishReason.DESCRIPTOR.values]
    outcomes = [
        value.name.removeprefix("CACHE_OUTCOME_").lower() for value in inference_pb2.CacheOutcome.DESCRIPTOR.values
    ]
    assert (list(FinishReason), list(CacheOutcome)) == (reasons, outcomes)


def test_one_stop_string_need_not_be_a_list() -> None:
    """A bare string would else become one stop string for each letter."""
    assert list(build(stop="END").sampling.stop) == ["END"]


def test_chat_with_tools() -> None:
    """Messages, tools and earlier calls go as the contract wants them, JSON as text."""
    call = {"id": "c1", "name": "add", "arguments": {"a": 1}}
    chat = build(
        None,
        messages=[
            {"role": "user", "content": "1+1?"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "2", "tool_call_id": "c1", "name": "add"},
        ],
        tools=[{"name": "add", "description": "Adds.", "parameters": '{"type": "object"}'}],
    ).input.chat
    assert [message.role for message in chat.messages] == ["user", "assistant", "tool"]
    assert chat.messages[1].tool_calls[0] == types_pb2.ToolCall(id="c1", name="add", arguments_json='{"a": 1}')
    assert (chat.messages[2].tool_call_id, chat.messages[2].name) == ("c1", "add")
    assert chat.tools[0].parameters_json_schema == '{"type": "object"}'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"json_schema": {"type": "string"}}, types_pb2.Constraint(json_schema='{"type": "string"}')),
        ({"regex": "a+"}, types_pb2.Constraint(regex="a+")),
        ({"grammar": "start: A"}, types_pb2.Constraint(grammar="start: A")),
        ({"one_of": ["yes", "no"]}, types_pb2.Constraint(choice=types_pb2.ChoiceConstraint(options=["yes", "no"]))),
    ],
)
def test_constraint(options: dict[str, Any], expected: types_pb2.Constraint) -> None:
    """Each kind of constraint is its own option."""
    assert build(**options).constraint == expected


def test_cache_policy_criticality_and_adapter() -> None:
    """Delivery options are words and seconds to the caller, enums and durations on the wire."""
    request = build(
        cache="bypass",
        cache_ttl_s=1.5,
        cache_tags=["v1"],
        cache_max_error_rate=0.0,
        cache_scope="team",
        criticality="sheddable",
        adapter="law",
        return_token_ids=True,
        echo=True,
    )
    assert request.cache.mode == inference_pb2.CACHE_MODE_BYPASS
    assert (request.cache.ttl.ToMilliseconds(), list(request.cache.tags)) == (1500, ["v1"])
    assert request.cache.HasField("max_error_rate")
    assert (request.cache.scope, request.adapter, request.echo) == ("team", "law", True)
    assert (request.criticality, request.return_token_ids) == (types_pb2.CRITICALITY_SHEDDABLE, True)


def test_token_ids_and_count_request() -> None:
    """Token ids go as they are; counting takes the same inputs."""
    assert list(build(None, token_ids=[1, 2]).input.token_ids.ids) == [1, 2]
    assert count_request("go", {"model": "pocket"}) == inference_pb2.CountTokensRequest(
        model="pocket", input=inference_pb2.Input(text="go")
    )


@pytest.mark.parametrize(
    ("prompt", "options"), [(None, {}), ("go", {"token_ids": [1]}), (None, {"token_ids": [1], "messages": []})]
)
def test_exactly_one_input(prompt: str | None, options: dict[str, Any]) -> None:
    """Two inputs would leave it to chance which one is read."""
    with pytest.raises(TypeError, match="exactly one of"):
        build(prompt, **options)


def test_misspelt_option_is_refused() -> None:
    """A typing slip must not silently mean the default."""
    with pytest.raises(TypeError, match=r"no such option: max_token; there are: .*max_tokens"):
        build(max_token=3)


def test_two_constraints_are_refused() -> None:
    """The contract knows one."""
    with pytest.raises(TypeError, match="at most one of"):
        build(regex="a", one_of=["a"])


@pytest.mark.parametrize(
    ("prompt", "options", "field"),
    [
        ("go", {"max_tokens": 2**40}, "max_tokens"),
        ("go", {"seed": -1}, "seed"),
        ("go", {"temperature": "hot"}, "temperature"),
        ("go", {"stop": 3}, "stop"),
        ("go", {"logit_bias": {-1: 1.0}}, "logit_bias"),
        ("go", {"cache": "never"}, "cache"),
        ("go", {"criticality": "urgent"}, "criticality"),
        (None, {"token_ids": [-1]}, "token_ids"),
        (None, {"messages": [{"role": "user", "text": "hi"}]}, "messages"),
        (None, {"messages": ["hi"]}, "messages"),
        ("\udcff", {}, "prompt"),
    ],
)
def test_value_that_no_message_can_hold_names_its_field(
    prompt: str | None, options: dict[str, Any], field: str
) -> None:
    """The caller learns which option is wrong, not that some number is out of range."""
    with pytest.raises(InvalidArgumentError, match=f"^INVALID_ARGUMENT: {field}: got ") as caught:
        build(prompt, **options)
    assert caught.value.field == field


def test_all_options_are_known() -> None:
    """The union of the option groups holds every group's names at run time, where it is checked."""
    assert {"prompt_logprobs", "one_of", "cache_ttl_s", "messages", "echo"} <= GenerationOptions.__annotations__.keys()
