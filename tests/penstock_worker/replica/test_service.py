"""The Session contract, over loopback and through the real engine."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from fakes.adapters import save_adapter
from fakes.gateway_session import GatewaySession, Message, group
from fakes.running_replica import FINGERPRINT, IDENTITY, RunningReplica

from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2
from penstock_shared.directory import AdapterSpec
from penstock_worker.engine.engine import Engine
from penstock_worker.models.adapter_file import open_adapter
from penstock_worker.models.registry import read_model_config

LONG = 6000  # output tokens: far more than are made before a test ends
TOTAL_SEQUENCES = 8 + 2


def is_idle(message: Message) -> bool:
    """A heartbeat that tells of an engine without work."""
    return message.heartbeat.state == worker_pb2.WORKER_STATE_IDLE


def has_output(message: Message) -> bool:
    """A step with tokens."""
    return bool(message.step.outputs)


async def test_hello_comes_first_and_says_who_is_there(replica: RunningReplica) -> None:
    """A gateway decides by it whether it may send work at all."""
    session = await replica.session()
    hello = session.hello
    assert (hello.contract_version, hello.replica_id, hello.incarnation) == (2, "tiny-0", 77)
    assert (hello.revision, hello.numerics_fingerprint) == (IDENTITY.revision, IDENTITY.numerics_fingerprint)
    assert hello.limits.max_running_sequences == 8
    assert hello.limits.num_kv_blocks == replica.engine.limits.num_blocks
    assert hello.credit.epoch == 1
    assert hello.credit.num_sequences == TOTAL_SEQUENCES


async def test_a_sequence_runs_to_its_end_with_exactly_one_terminal_event(replica: RunningReplica) -> None:
    """The whole path: submit, acknowledgement, tokens, end; `seq` without gaps."""
    session = await replica.session()
    await session.submit(group(1, max_tokens=8))
    received = (await session.read_ends([1]))[1]
    assert session.acks[1].outcome == worker_pb2.SUBMIT_OUTCOME_ACCEPTED
    assert len(received.token_ids) == 8
    assert received.end is not None
    assert received.end.reason == types_pb2.FINISH_REASON_LENGTH


async def test_heartbeats_come_without_work(replica: RunningReplica) -> None:
    """An idle replica and a dead one must look different."""
    session = await replica.session()
    beats = [await session.read_kind("heartbeat") for _ in range(2)]
    assert [beat.heartbeat.state for beat in beats] == [worker_pb2.WORKER_STATE_IDLE] * 2
    assert beats[0].heartbeat.num_free_blocks == replica.engine.limits.num_blocks
    assert not beats[0].heartbeat.HasField("step_age")


async def test_a_change_of_state_is_told_at_once(replica: RunningReplica) -> None:
    """BUSY with the first work, IDLE after the last."""
    session = await replica.session()
    await session.submit(group(1, max_tokens=LONG))
    await session.read_until(lambda message: message.heartbeat.state == worker_pb2.WORKER_STATE_BUSY)
    await session.cancel(1)
    await session.read_until(is_idle)
    assert session.received[1].end is not None


async def test_all_choices_of_a_group_run(replica: RunningReplica) -> None:
    """N > 1: each choice is a sequence of its own, and sampled differently."""
    session = await replica.session()
    await session.submit(group(1, 2, 3, max_tokens=12, temperature=1.0))
    received = await session.read_ends([1, 2, 3])
    assert [len(each.token_ids) for each in received.values()] == [12] * 3
    assert len({tuple(each.token_ids) for each in received.values()}) == 3


async def test_a_resumed_sequence_continues_and_finished_choices_are_left_alone(replica: RunningReplica) -> None:
    """Failover: the tokens are those that the sequence would have had; what had ended is not run again."""
    session = await replica.session()
    await session.submit(group(1, max_tokens=8))
    whole = (await session.read_ends([1]))[1].token_ids
    resumed = group(2, 3, max_tokens=8, attempt=2)
    resumed.choices[0].output_token_ids.extend(whole[:3])
    resumed.choices[1].is_finished = True
    await session.submit(resumed)
    assert (await session.read_ends([2]))[2].token_ids == whole[3:]
    assert 3 not in session.acks


async def test_log_probabilities_start_at_the_offset(replica: RunningReplica) -> None:
    """They come with the tokens, and only for the positions that are wanted."""
    session = await replica.session()
    wanted = group(1, max_tokens=6, logprobs=2)
    wanted.choices[0].logprob_offset = 4
    await session.submit(wanted)
    received = (await session.read_ends([1]))[1]
    assert [entry.token_id for entry in received.logprobs] == received.token_ids[4:]
    assert [len(entry.top) for entry in received.logprobs] == [2, 2]


async def test_the_prompt_is_scored_for_the_choice_that_says_from_where(replica: RunningReplica) -> None:
    """A prompt of several steps brings its log probabilities once, from the offset on, and before its first token."""
    session = await replica.session()
    prompt = [each % 250 for each in range(150)]
    wanted = group(1, 2, prompt=prompt, max_tokens=2)
    wanted.sampling.prompt_logprobs = 3
    wanted.choices[0].prompt_logprob_offset = 50
    await session.submit(wanted)
    received = await session.read_ends([1, 2])
    assert [entry.token_id for entry in received[1].prompt_logprobs] == prompt[50:]
    assert {len(entry.top) for entry in received[1].prompt_logprobs} == {3}
    assert received[2].prompt_logprobs == []


async def test_a_prompt_becomes_a_vector(replica: RunningReplica) -> None:
    """Of the model's width and length 1; it comes with the end, and no token does."""
    session = await replica.session()
    wanted = group(1, prompt=[each % 250 for each in range(150)])
    wanted.embed.pooling = worker_pb2.EMBED_POOLING_MEAN
    wanted.embed.normalize = True
    await session.submit(wanted)
    received = (await session.read_ends([1]))[1]
    assert (len(received.embedding), received.token_ids) == (32, [])
    assert sum(value * value for value in received.embedding) == pytest.approx(1.0)
    assert received.end is not None
    assert received.end.reason == types_pb2.FINISH_REASON_STOP


async def test_a_pooling_of_no_name_is_refused(replica: RunningReplica) -> None:
    """A vector of another kind than asked for looks like any other."""
    session = await replica.session()
    wanted = group(1)
    wanted.embed.pooling = 7  # type: ignore[assignment]
    await session.submit(wanted, group(2))
    await session.read_ends([2])
    assert session.acks[1].error.field == "embed.pooling"


async def test_a_cancelled_sequence_is_gone_within_one_step(replica: RunningReplica) -> None:
    """Nobody pays for tokens that nobody reads; the terminal event gives the credit back."""
    session = await replica.session()
    await session.submit(group(1, max_tokens=LONG))
    await session.read_until(has_output)
    await session.cancel(1)
    received = (await session.read_ends([1]))[1]
    assert received.end is not None
    assert received.end.reason == types_pb2.FINISH_REASON_CANCELLED
    stats = await replica.stats()
    assert stats.last_cancel_arrived_step > 0
    assert stats.last_cancel_effective_step - stats.last_cancel_arrived_step in (0, 1)
    assert (stats.num_running, stats.num_free_blocks) == (0, stats.num_kv_blocks)
    assert stats.num_cancelled == 1


async def test_a_cancel_of_something_unknown_is_ignored(replica: RunningReplica) -> None:
    """It has just ended, or is an old attempt."""
    session = await replica.session()
    await session.submit(group(1, max_tokens=30))
    await session.cancel(1, attempt=2)
    await session.cancel(99)
    assert len((await session.read_ends([1]))[1].token_ids) == 30


@pytest.mark.parametrize("how", ["cancel", "half-close"])
async def test_the_end_of_a_session_stops_its_sequences(replica: RunningReplica, how: str) -> None:
    """A gateway that is gone, however it went, leaves no ghost; the others go on."""
    gone, other = await replica.session(), await replica.session()
    await gone.submit(group(1, 2, max_tokens=LONG))
    await gone.read_until(has_output)
    if how == "cancel":
        gone.call.cancel()
    else:
        await gone.call.done_writing()
    message = await other.read_until(is_idle)
    assert message.heartbeat.num_free_blocks == replica.engine.limits.num_blocks
    await other.submit(group(1))
    await other.read_ends([1])
    stats = await replica.stats()
    assert (stats.num_cancelled, stats.num_sessions) == (2, 1)


async def test_work_past_its_deadline_is_stopped(replica: RunningReplica) -> None:
    """At once, not at the next heartbeat, and with an error that says why."""
    session = await replica.session()
    late = group(1, max_tokens=LONG)
    deadline_s = time.time() + 0.1
    late.deadline.FromNanoseconds(int(deadline_s * 1e9))
    await session.submit(late)
    end = (await session.read_ends([1]))[1].end
    assert time.time() - deadline_s < 0.4
    assert end is not None
    assert end.reason == types_pb2.FINISH_REASON_ERROR
    assert end.error.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]


async def test_overspending_ends_the_session_and_no_other(replica: RunningReplica) -> None:
    """A gateway that breaks the contract is cut off with its work; its neighbour notices nothing."""
    greedy, other = await replica.session(), await replica.session()
    await other.submit(group(1, max_tokens=20))
    await greedy.read_kind("credit")
    await greedy.submit(group(1, max_tokens=LONG))
    await greedy.submit(*(group(i) for i in range(2, 3 + greedy.credit.num_sequences)))
    assert await greedy.read_status() == grpc.StatusCode.FAILED_PRECONDITION
    assert "overspent" in (await greedy.call.details() or "")
    assert len((await other.read_ends([1]))[1].token_ids) == 20
    await other.read_until(is_idle)


async def test_credit_that_was_used_comes_back(replica: RunningReplica) -> None:
    """Three times the window in turn; with a leak the third would overspend."""
    session = await replica.session()
    for round_number in range(3):
        ids = range(round_number * 100, round_number * 100 + TOTAL_SEQUENCES)
        await session.submit(*(group(i, max_tokens=2) for i in ids))
        ended = await session.read_ends(ids)
        assert [len(ended[i].token_ids) for i in ids] == [2] * TOTAL_SEQUENCES


async def test_two_sessions_share_the_credit(replica: RunningReplica) -> None:
    """The newcomer gets a share, the first one is told, and gets all of it back."""
    first = await replica.session()
    second = await replica.session()
    await first.read_kind("credit")
    assert (first.credit.num_sequences, second.credit.num_sequences) == (5, 5)
    second.call.cancel()
    await first.read_kind("credit")
    assert first.credit.num_sequences == TOTAL_SEQUENCES


async def test_demand_moves_credit(replica: RunningReplica) -> None:
    """The gateway with the queue gets what the idle one does not need."""
    first, second = await replica.session(), await replica.session()
    await first.read_kind("credit")
    demand = worker_pb2.Demand(num_sequences=8, prefill_tokens=80)
    await second.call.write(worker_pb2.SessionRequest(demand=demand))
    await first.read_kind("credit")
    await second.read_kind("credit")
    assert (first.credit.num_sequences, second.credit.num_sequences) == (2, 8)


async def test_work_sent_under_an_older_credit_is_given_back(replica: RunningReplica) -> None:
    """The race of epochs: the second session's arrival halves the window while the first one's work is on its way."""
    first = await replica.session()
    old_epoch = first.credit.epoch
    await replica.session()
    await first.submit(*(group(i, max_tokens=2) for i in range(TOTAL_SEQUENCES)), epoch=old_epoch)
    await first.read_kind("submit_ack")
    outcomes = [first.acks[i].outcome for i in range(TOTAL_SEQUENCES)]
    expected = [worker_pb2.SUBMIT_OUTCOME_ACCEPTED] * 5 + [worker_pb2.SUBMIT_OUTCOME_OVER_CREDIT] * 5
    assert outcomes == expected
    await first.read_ends(range(5))


async def test_a_constraint_that_nothing_here_can_apply_is_refused(replica: RunningReplica) -> None:
    """This model has no tokenizer: silence would look like an answer that conforms."""
    session = await replica.session()
    asked = group(1)
    asked.constraint.regex = "a+"
    await session.submit(asked, group(2))
    await session.read_ends([2])
    assert session.acks[1].outcome == worker_pb2.SUBMIT_OUTCOME_REFUSED
    assert session.acks[1].error.field == "constraint"


async def test_a_request_that_can_never_run_is_refused_and_nobody_else_notices(replica: RunningReplica) -> None:
    """A token id beyond the vocabulary would end the whole step."""
    session = await replica.session()
    await session.submit(group(1, prompt=[999]), group(2))
    await session.read_ends([2])
    assert session.acks[1].outcome == worker_pb2.SUBMIT_OUTCOME_REFUSED
    assert session.acks[1].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


async def test_an_adapter_that_is_not_loaded_is_refused(replica: RunningReplica) -> None:
    """It was unloaded while the request was on its way; the base model would answer something else."""
    session = await replica.session()
    asked = group(1)
    asked.adapter = "law"
    await session.submit(asked, group(2))
    await session.read_ends([2])
    assert session.acks[1].outcome == worker_pb2.SUBMIT_OUTCOME_REFUSED
    assert session.acks[1].error.code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_an_adapter_of_another_revision_is_refused(
    replica: RunningReplica, engine: Engine, checkpoint: Path, tmp_path: Path
) -> None:
    """It was replaced while the request was on its way: the answer would be kept under the old one's name."""
    adapter_dir = save_adapter(checkpoint, tmp_path / "law")
    law = AdapterSpec("law", open_adapter(adapter_dir, read_model_config(checkpoint)[1]).revision)
    engine.adapters.load(law, adapter_dir)
    groups = [group(1), group(2), group(3)]
    for asked in groups:
        asked.adapter = "law"
    groups[0].adapter_revision = "0123456789abcdef"
    groups[1].adapter_revision = law.revision
    session = await replica.session()
    await session.submit(*groups)
    await session.read_ends([2, 3])
    assert session.acks[1].outcome == worker_pb2.SUBMIT_OUTCOME_REFUSED
    assert session.acks[1].error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert session.acks[1].error.message == (
        f"adapter law was revision 0123456789ab when the request came, and is {law.revision[:12]} now: "
        "send the request again"
    )


async def test_a_criticality_of_no_name_is_refused(replica: RunningReplica) -> None:
    """Priorities compare by number: an unknown one would go before everybody's."""
    session = await replica.session()
    asked = group(1)
    asked.criticality = 9  # type: ignore[assignment]  # proto3 enums are open
    await session.submit(asked, group(2))
    await session.read_ends([2])
    assert session.acks[1].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert session.acks[1].error.message.startswith("criticality: got 9; allowed: 0 (CRITICALITY_UNSPECIFIED), 1 (")


async def test_bytes_that_are_no_message_end_their_session_alone(replica: RunningReplica) -> None:
    """The sender hears what was wrong; the engine and the other sessions go on."""
    channel = await replica.channel()
    call = channel.stream_stream("/penstock.worker.v1.WorkerService/Session")()
    opening = worker_pb2.Open(contract_version=2, gateway_id="raw", tokenizer_fingerprint=FINGERPRINT)
    await call.write(worker_pb2.SessionRequest(open=opening).SerializeToString())
    assert worker_pb2.SessionResponse.FromString(await call.read()).WhichOneof("message") == "hello"
    await call.write(b"\xff\xff\xff")
    assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "penstock.worker.v1.SessionRequest" in await call.details()
    other = await replica.session()
    await other.submit(group(1))
    assert len((await other.read_ends([1]))[1].token_ids) == 8


async def test_another_tokenizer_is_refused(replica: RunningReplica) -> None:
    """Its token ids would mean something else."""
    session = await replica.connect()
    with pytest.raises(grpc.aio.AioRpcError, match="tokenizer"):
        await session.open("tokenizer-2")
    assert await session.call.code() == grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("contract_version", [1, 3])
async def test_another_contract_version_is_refused(replica: RunningReplica, contract_version: int) -> None:
    """Both sides must agree on what a message means."""
    session = await replica.connect()
    with pytest.raises(grpc.aio.AioRpcError, match="contract version"):
        await session.open(FINGERPRINT, contract_version=contract_version)


async def test_work_before_open_is_refused(replica: RunningReplica) -> None:
    """Nobody may submit unchecked."""
    session = await replica.connect()
    await session.submit(group(1))
    assert await session.read_status() == grpc.StatusCode.FAILED_PRECONDITION


async def test_a_gateway_that_does_not_read_is_ended_while_others_go_on(
    start_replica: Callable[..., Awaitable[RunningReplica]],
) -> None:
    """The engine waits for nobody: its memory stays bounded and its neighbours keep their pace."""
    replica = await start_replica(max_outbox_cost=2000)
    deaf, other = await replica.session(), await replica.session()
    await deaf.submit(*(group(i, max_tokens=LONG, logprobs=20) for i in range(4)))
    await other.submit(group(1, max_tokens=LONG))
    await other.read_until(lambda message: message.heartbeat.num_running == 1)
    await other.cancel(1)
    assert len((await other.read_ends([1]))[1].token_ids) > 0
    assert (await replica.stats()).num_sessions == 1
    assert await deaf.read_status() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_stopping_replica_says_so_and_finishes_its_work(replica: RunningReplica) -> None:
    """No new work, no lost work; the session ends UNAVAILABLE, so that the gateway goes elsewhere."""
    session = await replica.session()
    await session.submit(group(1, max_tokens=200))
    await session.read_until(has_output)
    stopping = asyncio.create_task(replica.server.stop(30.0))
    await session.read_kind("draining")
    assert session.credit.num_sequences == 0
    assert len((await session.read_ends([1]))[1].token_ids) == 200
    assert await session.read_status() == grpc.StatusCode.UNAVAILABLE
    await stopping


async def test_what_does_not_finish_in_time_is_ended_with_the_replica(replica: RunningReplica) -> None:
    """The limit of a drain is a limit."""
    session = await replica.session()
    await session.submit(group(1, max_tokens=LONG))
    await session.read_until(has_output)
    await replica.server.stop(0.05)
    assert await session.read_status() == grpc.StatusCode.UNAVAILABLE


async def test_interleaved_sessions_get_their_own_tokens(replica: RunningReplica) -> None:
    """Sequence ids are a session's own: equal ones do not mix."""
    sessions: list[GatewaySession] = [await replica.session() for _ in range(2)]
    for session, prompt in zip(sessions, ([10, 11], [20, 21, 22]), strict=True):
        await session.submit(group(1, prompt=prompt, max_tokens=16))
    together = [(await session.read_ends([1]))[1].token_ids for session in sessions]
    alone = []
    for prompt in ([10, 11], [20, 21, 22]):
        session = await replica.session()
        await session.submit(group(1, prompt=prompt, max_tokens=16))
        alone.append((await session.read_ends([1]))[1].token_ids)
    assert together == alone
