"""Submit messages are split by their bytes, and say all that a replica needs to know."""

from dataclasses import replace

from fakes.generations import job

from penstock.worker.v1 import worker_pb2
from penstock_gateway.dispatch.worker_messages import sequence_group, submit_messages
from penstock_shared.directory import AdapterSpec


def group(request_id: str, num_tokens: int) -> worker_pb2.SequenceGroup:
    """A prompt of one-byte tokens."""
    return worker_pb2.SequenceGroup(request_id=request_id, prompt_token_ids=[1] * num_tokens)


def test_groups_leave_together_as_far_as_the_bound_allows() -> None:
    """One message a replica and dispatch, unless the transport would refuse it."""
    groups = [group(name, 100) for name in "abcde"]
    messages = list(submit_messages(groups, 7, max_bytes=250))
    assert [[each.request_id for each in message.submit.groups] for message in messages] == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]
    assert {message.submit.credit_epoch for message in messages} == {7}
    assert len(list(submit_messages(groups, 7))) == 1


def test_a_group_over_the_bound_goes_alone() -> None:
    """It cannot be split, and the transport's own limit is far above."""
    messages = list(
        submit_messages([group("small", 10), group("huge", 1000), group("small too", 10)], 1, max_bytes=250)
    )
    assert [[each.request_id for each in message.submit.groups] for message in messages] == [
        ["small"],
        ["huge"],
        ["small too"],
    ]


def test_a_group_names_its_adapter_and_the_revision_that_it_was_admitted_with() -> None:
    """Another one may have the name when the group arrives, after a wait or from a replica that died."""
    asked = job()
    asked = replace(asked, spec=replace(asked.spec, adapters=(AdapterSpec("law", "law-1"),)))
    named = sequence_group(replace(asked, adapter="law"), [], 1, num_prompt_logprobs=0)
    assert (named.adapter, named.adapter_revision) == ("law", "law-1")
    assert not sequence_group(asked, [], 1, num_prompt_logprobs=0).HasField("adapter_revision")


def test_nothing_makes_no_message() -> None:
    """Most wake-ups of the writer carry cancels only."""
    assert list(submit_messages([], 1)) == []
