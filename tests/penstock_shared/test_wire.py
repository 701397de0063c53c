"""Fields are counted on the bytes, so that a small message cannot become a large one in memory."""

import pytest
from google.protobuf.message import Message

from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock_shared.errors import InvalidArgumentError
from penstock_shared.parsing import parse_request
from penstock_shared.wire import has_more_fields

ONE_OF_EACH = inference_pb2.GenerationRequest(
    model="pocket",
    input=inference_pb2.Input(
        chat=inference_pb2.Chat(
            messages=[types_pb2.ChatMessage(role="user", content="Hi" * 200), types_pb2.ChatMessage()]
        )
    ),
    sampling=types_pb2.SamplingParams(temperature=1.5, top_k=300, stop=["a", "b"], stop_token_ids=[1, 2, 300]),
    cache=inference_pb2.CachePolicy(ttl={"seconds": 2**40, "nanos": 1}, mode=inference_pb2.CACHE_MODE_USE),
)
# model; input, chat, 2 messages, role, content; sampling, temperature, top_k, 2 stops, packed ids; cache, ttl, seconds,
# nanos, mode.
NUM_FIELDS = 1 + 6 + 6 + 5
ONE_OF_EACH.sampling.logit_bias[7] = 0.5  # an entry with key and value
NUM_FIELDS += 3


def more_than(message: Message, maximum: int) -> bool:
    """The same for a message."""
    return has_more_fields(message.SerializeToString(), message.DESCRIPTOR, maximum)


def test_every_field_counts_wherever_it_stands() -> None:
    """In lists, maps and messages inside messages; a packed list of numbers is one."""
    assert more_than(ONE_OF_EACH, NUM_FIELDS - 1)
    assert not more_than(ONE_OF_EACH, NUM_FIELDS)


def test_long_texts_and_packed_numbers_are_few_fields() -> None:
    """A prompt of a million tokens is an honest request."""
    ids = inference_pb2.Input(token_ids=inference_pb2.TokenIds(ids=range(1_000_000)))
    assert not more_than(ids, 2)
    assert not more_than(inference_pb2.Input(text="\x0a\x00" * 1_000_000), 1)


@pytest.mark.parametrize(
    ("data", "has_more"),
    [
        (b"\xff" * 10_000_000, False),
        (b"\x0a\x7f" + b"x" * 50, False),
        (b"\x0b" * 100, True),
        (b"\x09" * 100, True),
        (b"\x08" * 99, True),
    ],
)
def test_bytes_that_are_no_message_count_up_to_their_fault(data: bytes, has_more: bool) -> None:
    """Whatever they hold, the count ends; what is wrong with them the parser tells."""
    assert has_more_fields(data, ONE_OF_EACH.DESCRIPTOR, 1) is has_more


def test_a_fault_behind_many_parts_hides_none_of_them() -> None:
    """A parser makes all of them before it comes to the fault."""
    chat = inference_pb2.Chat(messages=[types_pb2.ChatMessage()] * 1000)
    request = inference_pb2.GenerationRequest(input={"chat": chat})
    assert has_more_fields(request.SerializeToString() + b"\xff" * 11, request.DESCRIPTOR, 1000)


def test_too_many_parts_are_refused_before_they_are_made() -> None:
    """Seven million empty messages in 14 MB."""
    chat = inference_pb2.Chat(messages=[types_pb2.ChatMessage()] * 300_000)
    message = inference_pb2.CompleteRequest(request={"input": {"chat": chat}})
    with pytest.raises(InvalidArgumentError) as caught:
        parse_request(inference_pb2.CompleteRequest.FromString, message.SerializeToString())
    assert caught.value.message == (
        "penstock.inference.v1.CompleteRequest: got 'more than 100000 fields'; "
        "allowed: at most 100000 fields in one message, entries of lists included"
    )
