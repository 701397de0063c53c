"""Plain values as `worker.v1` messages to a gateway."""

from typing import assert_never

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2
from penstock_shared.errors import to_proto_error
from penstock_shared.prefix_chain import CHAIN_FUNCTION
from penstock_worker.engine.sequence import FinishReason, TokenLogprobs
from penstock_worker.replica.messages import (
    CONTRACT_VERSION,
    Credit,
    Draining,
    End,
    Heartbeat,
    Hello,
    Limits,
    Outbound,
    Output,
    PrefixEvents,
    PrefixSnapshot,
    Step,
    SubmitAck,
    SubmitOutcome,
    SubmitResult,
    WorkerState,
)
from penstock_worker.replica.stats import Stats

_OUTCOMES = {
    SubmitOutcome.ACCEPTED: worker_pb2.SUBMIT_OUTCOME_ACCEPTED,
    SubmitOutcome.OVER_CREDIT: worker_pb2.SUBMIT_OUTCOME_OVER_CREDIT,
    SubmitOutcome.REFUSED: worker_pb2.SUBMIT_OUTCOME_REFUSED,
}
_REASONS = {
    FinishReason.STOP: types_pb2.FINISH_REASON_STOP,
    FinishReason.LENGTH: types_pb2.FINISH_REASON_LENGTH,
    FinishReason.CANCELLED: types_pb2.FINISH_REASON_CANCELLED,
    FinishReason.ERROR: types_pb2.FINISH_REASON_ERROR,
}
_STATES = {
    WorkerState.IDLE: worker_pb2.WORKER_STATE_IDLE,
    WorkerState.BUSY: worker_pb2.WORKER_STATE_BUSY,
    WorkerState.DRAINING: worker_pb2.WORKER_STATE_DRAINING,
}


def outbound_message(seq: int, message: Outbound) -> worker_pb2.SessionResponse:
    """A message to the gateway, numbered `seq`."""
    match message:
        case Step():
            response = worker_pb2.SessionResponse(step=_step(message))
        case SubmitAck():
            response = worker_pb2.SessionResponse(submit_ack=_submit_ack(message))
        case Heartbeat():
            response = worker_pb2.SessionResponse(heartbeat=_heartbeat(message))
        case Credit():
            response = worker_pb2.SessionResponse(credit=_credit(message))
        case PrefixEvents():
            response = worker_pb2.SessionResponse(prefix_events=_prefix_events(message))
        case PrefixSnapshot():
            response = worker_pb2.SessionResponse(prefix_index=_prefix_snapshot(message))
        case Hello():
            response = worker_pb2.SessionResponse(hello=_hello(message))
        case Draining():
            response = worker_pb2.SessionResponse(draining=_draining(message))
        case _:
            assert_never(message)
    response.seq = seq
    return response


def stats_response(replica_id: str, incarnation: int, stats: Stats) -> worker_pb2.GetStatsResponse:
    """The counters as a message."""
    return worker_pb2.GetStatsResponse(
        replica_id=replica_id,
        incarnation=incarnation,
        engine_step=stats.engine_step,
        num_running=stats.num_running,
        num_waiting=stats.num_waiting,
        num_kv_blocks=stats.num_kv_blocks,
        num_free_blocks=stats.num_free_blocks,
        num_sessions=stats.num_sessions,
        last_step_sequences=stats.last_step_sequences,
        num_finished=stats.num_finished,
        num_cancelled=stats.num_cancelled,
        num_preemptions=stats.num_preemptions,
        num_generated_tokens=stats.num_generated_tokens,
        last_cancel_arrived_step=stats.last_cancel_arrived_step,
        last_cancel_effective_step=stats.last_cancel_effective_step,
        num_cached_blocks=stats.num_cached_blocks,
        num_computed_tokens=stats.num_computed_tokens,
        num_prefix_query_tokens=stats.num_prefix_query_tokens,
        num_prefix_hit_tokens=stats.num_prefix_hit_tokens,
        num_evicted_blocks=stats.num_evicted_blocks,
        num_drafted_tokens=stats.num_drafted_tokens,
        num_accepted_tokens=stats.num_accepted_tokens,
    )


def _step(step: Step) -> worker_pb2.Step:
    return worker_pb2.Step(
        engine_step=step.engine_step,
        step_duration=_duration(step.duration_s),
        outputs=[_output(output) for output in step.outputs],
    )


def _output(output: Output) -> worker_pb2.SequenceOutput:
    return worker_pb2.SequenceOutput(
        sequence_id=output.ref.sequence_id,
        attempt=output.ref.attempt,
        token_ids=output.token_ids,
        logprobs=[_logprobs(entry) for entry in output.logprobs],
        end=None if output.end is None else _end(output.end),
        prompt_logprobs=[_logprobs(entry) for entry in output.prompt_logprobs],
        embedding=output.embedding,
    )


def _end(end: End) -> worker_pb2.SequenceEnd:
    return worker_pb2.SequenceEnd(
        reason=_REASONS[end.reason],
        stop_token_id=end.stop_token_id,
        error=None if end.error is None else to_proto_error(end.error),
        cached_prompt_tokens=end.cached_prompt_tokens,
        num_preemptions=end.num_preemptions,
        num_drafted_tokens=end.num_drafted_tokens,
        num_accepted_tokens=end.num_accepted_tokens,
    )


def _logprobs(entry: TokenLogprobs) -> types_pb2.TokenLogprobs:
    top = [types_pb2.TopLogprob(token_id=found.token_id, logprob=found.logprob) for found in entry.top]
    return types_pb2.TokenLogprobs(token_id=entry.token_id, logprob=entry.logprob, top=top)


def _result(result: SubmitResult) -> worker_pb2.SubmitResult:
    return worker_pb2.SubmitResult(
        sequence=worker_pb2.SequenceRef(sequence_id=result.ref.sequence_id, attempt=result.ref.attempt),
        outcome=_OUTCOMES[result.outcome],
        error=None if result.error is None else to_proto_error(result.error),
    )


def _heartbeat(heartbeat: Heartbeat) -> worker_pb2.Heartbeat:
    age_s, predicted_s = heartbeat.step_age_s, heartbeat.predicted_step_s
    return worker_pb2.Heartbeat(
        engine_step=heartbeat.engine_step,
        step_age=None if age_s is None else _duration(age_s),
        predicted_step=None if predicted_s is None else _duration(predicted_s),
        num_running=heartbeat.num_running,
        num_waiting=heartbeat.num_waiting,
        num_free_blocks=heartbeat.num_free_blocks,
        state=_STATES[heartbeat.state],
    )


def _credit(credit: Credit) -> worker_pb2.Credit:
    return worker_pb2.Credit(
        epoch=credit.epoch,
        num_sequences=credit.amount.num_sequences,
        prefill_tokens=credit.amount.prefill_tokens,
        kv_blocks=credit.amount.kv_blocks,
    )


def _hello(hello: Hello) -> worker_pb2.Hello:
    identity = hello.identity
    return worker_pb2.Hello(
        contract_version=CONTRACT_VERSION,
        replica_id=identity.replica_id,
        incarnation=identity.incarnation,
        model=identity.model,
        revision=identity.revision,
        tokenizer_fingerprint=identity.tokenizer_fingerprint,
        numerics_fingerprint=identity.numerics_fingerprint,
        limits=_limits(hello.limits),
        prefix_index=None if hello.prefix_index is None else _prefix_snapshot(hello.prefix_index),
        credit=_credit(hello.credit),
    )


def _prefix_snapshot(snapshot: PrefixSnapshot) -> worker_pb2.PrefixIndexSnapshot:
    return worker_pb2.PrefixIndexSnapshot(
        chain_function=CHAIN_FUNCTION,
        block_size=snapshot.block_size,
        event_number=snapshot.event_number,
        block_hashes=snapshot.block_hashes,
        is_continuation=snapshot.is_continuation,
    )


def _prefix_events(events: PrefixEvents) -> worker_pb2.PrefixEvents:
    return worker_pb2.PrefixEvents(
        first_event_number=events.first_number,
        events=[
            worker_pb2.PrefixEvent(stored_block_hash=change.block_hash)
            if change.is_stored
            else worker_pb2.PrefixEvent(removed_block_hash=change.block_hash)
            for change in events.changes
        ],
    )


def _submit_ack(ack: SubmitAck) -> worker_pb2.SubmitAck:
    return worker_pb2.SubmitAck(results=[_result(result) for result in ack.results])


def _draining(draining: Draining) -> worker_pb2.Draining:
    finish_by = Timestamp()
    finish_by.FromNanoseconds(draining.finish_by_ns)
    return worker_pb2.Draining(finish_by=finish_by)


def _limits(limits: Limits) -> worker_pb2.Limits:
    return worker_pb2.Limits(
        max_running_sequences=limits.max_running_sequences,
        max_step_tokens=limits.max_step_tokens,
        context_length=limits.context_length,
        block_size=limits.block_size,
        num_kv_blocks=limits.num_kv_blocks,
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration
