"""Lists with too many entries are refused before anything is made of their entries."""

from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock_gateway.capabilities import Limits
from penstock_gateway.message_counts import check_generation_counts, check_input_counts
from penstock_shared.errors import InvalidArgumentError

LIMITS = Limits(max_input_bytes=5000, max_output_tokens=50)
TURN, CALL, TOOL = types_pb2.ChatMessage(role="user"), types_pb2.ToolCall(id="1"), types_pb2.Tool(name="f")
# Path of a list -> its bound, and a request with so many entries.
LISTS: dict[str, tuple[int, Any]] = {
    "sampling.stop": (16, lambda n: {"sampling": {"stop": ["x"] * n}}),
    "sampling.stop_token_ids": (64, lambda n: {"sampling": {"stop_token_ids": [1] * n}}),
    "sampling.logit_bias": (1024, lambda n: {"sampling": {"logit_bias": dict.fromkeys(range(n), 0.0)}}),
    "constraint.choice.options": (1024, lambda n: {"constraint": {"choice": {"options": ["x"] * n}}}),
    "cache.tags": (16, lambda n: {"cache": {"tags": ["x"] * n}}),
    "input.token_ids.ids": (5000, lambda n: {"input": {"token_ids": {"ids": [1] * n}}}),
    "input.chat.messages": (2048, lambda n: {"input": {"chat": {"messages": [TURN] * n}}}),
    "input.chat.tools": (2048, lambda n: {"input": {"chat": {"tools": [TOOL] * n}}}),
    "input.chat.messages.tool_calls": (
        128,
        lambda n: {"input": {"chat": {"messages": [types_pb2.ChatMessage(tool_calls=[CALL] * n)]}}},
    ),
}


@pytest.mark.parametrize("path", LISTS)
def test_one_entry_too_many_is_named(path: str) -> None:
    """The bound itself is allowed."""
    bound, made = LISTS[path]
    check_generation_counts(inference_pb2.GenerationRequest(**made(bound)), LIMITS)
    with pytest.raises(InvalidArgumentError) as caught:
        check_generation_counts(inference_pb2.GenerationRequest(**made(bound + 1)), LIMITS)
    field = f"request.{path}".replace("messages.tool_calls", "messages[0].tool_calls")
    assert caught.value.message == f"{field}: got '{bound + 1} entries'; allowed: at most {bound} entries"


def test_every_list_of_the_contract_is_counted() -> None:
    """A new list without a bound is where the next seven million entries come in."""
    assert set(lists_of(inference_pb2.GenerationRequest.DESCRIPTOR)) == LISTS.keys()


def test_field_of_an_input_elsewhere_is_its_own() -> None:
    """CountTokens has the same input at another place."""
    message = inference_pb2.Input(chat={"messages": [TURN] * 2049})
    with pytest.raises(InvalidArgumentError, match=r"^input\.chat\.messages: "):
        check_input_counts(message, LIMITS, field="input")


def lists_of(descriptor: Descriptor, path: str = "") -> list[str]:
    """Paths of all repeated fields."""
    found = []
    for field in descriptor.fields:
        here = f"{path}{field.name}"
        if field.is_repeated:
            found.append(here)
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            found += lists_of(field.message_type, f"{here}.")
    return found
