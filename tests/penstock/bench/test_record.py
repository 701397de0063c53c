"""What is noted of one request."""

import grpc
import pytest
from fakes.inference_server import delta, final, started

from penstock.bench.record import RecordInProgress, RequestRecord
from penstock.client.convert import event_from_proto
from penstock.client.errors import ResourceExhaustedError
from penstock.inference.v1 import inference_pb2


def record(*events: tuple[float, inference_pb2.GenerateResponse]) -> RequestRecord:
    """A request that was due at 1 s, sent at 1.25 s, and ended at 9 s."""
    progress = RecordInProgress(due_s=1.0, sent_s=1.25, num_prompt_tokens=20)
    for at_s, message in events:
        event = event_from_proto(message)
        assert event is not None
        progress.take(event, at_s)
    return progress.end(9.0)


def test_latencies_count_from_when_a_request_was_due() -> None:
    """A request that waited in the generator did wait (coordinated omission)."""
    ended = record((2.0, started()), (3.0, delta("a", 5)), (8.0, final()))
    assert (ended.lateness_s, ended.time_to_first_token_s, ended.end_to_end_s) == (0.25, 2.0, 8.0)


def test_gaps_are_between_messages_with_tokens() -> None:
    """Text that was held back, and events without tokens, are no tokens."""
    ended = record((2.0, started()), (3.0, delta("a", 5)), (3.5, delta("bc", 6, 7)), (4.0, delta("d")), (8.0, final()))
    assert (ended.gaps_s, ended.num_output_tokens) == ((0.5,), 3)


def test_time_per_output_token_is_over_the_tokens_after_the_first_message() -> None:
    """Tokens that come together share the time that they took."""
    ended = record((3.0, delta("a", 5)), (3.5, delta("bc", 6, 7)), (4.5, delta("d", 8)))
    assert ended.time_per_output_token_s == 0.5


@pytest.mark.parametrize("events", [[], [(3.0, delta("a", 5))]])
def test_no_second_message_has_no_time_per_token(events: list[tuple[float, inference_pb2.GenerateResponse]]) -> None:
    """Nothing was measured, which is not zero."""
    assert record(*events).time_per_output_token_s is None


def test_answer_without_tokens_has_no_first_one() -> None:
    """As above."""
    assert record((2.0, started())).time_to_first_token_s is None


def test_record_knows_replica_cache_and_failure() -> None:
    """Errors are counted by code."""
    ended = record((2.0, started()))
    assert (ended.replica, ended.cache, ended.code, ended.is_ok) == ("pocket-0", "skipped", "OK", True)
    error = ResourceExhaustedError(grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full")
    failed = RecordInProgress(1.0, 1.0, 20).end(2.0, error)
    assert (failed.code, failed.message, failed.is_ok) == ("RESOURCE_EXHAUSTED", "the queue is full", False)
