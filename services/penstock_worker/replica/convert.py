"""`worker.v1` messages to plain values and back."""

from collections.abc import Callable, Iterator
from typing import assert_never

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2
from penstock_shared.errors import FailedPreconditionError, UnimplementedError, to_proto_error
from penstock_shared.tracing import TraceContext
from penstock_worker.engine.sequence import FinishReason, SamplingOptions, SequenceRequest, TokenLogprobs
from penstock_worker.replica.messages import (
    CONTRACT_VERSION,
    Cancel,
    Credit,
    Demand,
    Draining,
    End,
    Heartbeat,
    Hello,
    Inbound,
    Limits,
    Open,
    Outbound,
    Output,
    SequenceRef,
    Stats,
    Step,
    Submit,
    SubmitAck,
    SubmitOutcome,
    SubmitResult,
    SubmittedSequence,
    WorkerState,
)

_STANDARD = types_pb2.CRITICALITY_STANDARD
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


def inbound(request: worker_pb2.SessionRequest, next_key: Callable[[], int]) -> Inbound:
    """A gateway's message.

    Args:
        request: as received.
        next_key: names sequences for the engine, each differently.

    Raises:
        FailedPreconditionError: it is of no kind that this contract version knows.
    """
    match request.WhichOneof("message"):
        case "open":
            opening = request.open
            return Open(opening.contract_version, opening.gateway_id, opening.tokenizer_fingerprint)
        case "submit":
            groups = request.submit.groups
            sequences = [sequence for group in groups for sequence in _sequences(group, next_key)]
            return Submit(request.submit.credit_epoch, sequences)
        case "cancel":
            return Cancel([_ref(ref) for ref in request.cancel.sequences])
        case "demand":
            return Demand(request.demand.num_sequences, request.demand.prefill_tokens)
        case _:
            raise FailedPreconditionError("a session message of an unknown kind")


def outbound(seq: int, message: Outbound) -> worker_pb2.SessionResponse:
    """A message to the gateway, numbered `seq`."""
    match message:
        case Step():
            return worker_pb2.SessionResponse(seq=seq, step=_step(message))
        case SubmitAck():
            results = [_result(result) for result in message.results]
            return worker_pb2.SessionResponse(seq=seq, submit_ack=worker_pb2.SubmitAck(results=results))
        case Heartbeat():
            return worker_pb2.SessionResponse(seq=seq, heartbeat=_heartbeat(message))
        case Credit():
            return worker_pb2.SessionResponse(seq=seq, credit=_credit(message))
        case Hello():
            return worker_pb2.SessionResponse(seq=seq, hello=_hello(message))
        case Draining():
            finish_by = Timestamp()
            finish_by.FromNanoseconds(message.finish_by_ns)
            return worker_pb2.SessionResponse(seq=seq, draining=worker_pb2.Draining(finish_by=finish_by))
        case _:
            assert_never(message)


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
    )


def _sequences(group: worker_pb2.SequenceGroup, next_key: Callable[[], int]) -> Iterator[SubmittedSequence]:
    """The choices of `group` that are still to run."""
    prompt = tuple(group.prompt_token_ids)
    sampling = _sampling(group.sampling)
    error = _unimplemented(group)
    trace = TraceContext.parse(group.traceparent)
    deadline_ns = group.deadline.ToNanoseconds() if group.HasField("deadline") else None
    for choice in group.choices:
        if choice.is_finished:
            continue
        request = SequenceRequest(
            key=next_key(),
            prompt_token_ids=prompt,
            output_token_ids=tuple(choice.output_token_ids),
            choice_index=choice.index,
            sampling=sampling,
            criticality=group.criticality or _STANDARD,
        )
        yield SubmittedSequence(
            ref=SequenceRef(choice.sequence_id, group.attempt),
            request=request,
            request_id=group.request_id,
            deadline_ns=deadline_ns,
            trace=trace,
            num_unwanted_logprobs=max(0, choice.logprob_offset - len(choice.output_token_ids)),
            error=error,
        )


def _unimplemented(group: worker_pb2.SequenceGroup) -> UnimplementedError | None:
    """The first thing asked for that this version does not do."""
    if group.constraint.WhichOneof("kind") is not None:
        return UnimplementedError("constraint")
    if group.HasField("adapter"):
        return UnimplementedError("adapter")
    if group.sampling.HasField("prompt_logprobs"):
        return UnimplementedError("sampling.prompt_logprobs")
    return None


def _sampling(sampling: types_pb2.ResolvedSampling) -> SamplingOptions:
    return SamplingOptions(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        seed=sampling.seed,
        max_tokens=sampling.max_tokens,
        min_tokens=sampling.min_tokens,
        stop_token_ids=frozenset(sampling.stop_token_ids),
        logit_bias=dict(sampling.logit_bias),
        logprobs=sampling.logprobs if sampling.HasField("logprobs") else None,
        ignore_eos=sampling.ignore_eos,
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
    )


def _end(end: End) -> worker_pb2.SequenceEnd:
    return worker_pb2.SequenceEnd(
        reason=_REASONS[end.reason],
        stop_token_id=end.stop_token_id,
        error=None if end.error is None else to_proto_error(end.error),
        cached_prompt_tokens=end.cached_prompt_tokens,
        num_preemptions=end.num_preemptions,
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
        prefix_index=worker_pb2.PrefixIndexSnapshot(block_size=hello.limits.block_size),
        credit=_credit(hello.credit),
    )


def _limits(limits: Limits) -> worker_pb2.Limits:
    return worker_pb2.Limits(
        max_running_sequences=limits.max_running_sequences,
        max_step_tokens=limits.max_step_tokens,
        context_length=limits.context_length,
        block_size=limits.block_size,
        num_kv_blocks=limits.num_kv_blocks,
    )


def _ref(ref: worker_pb2.SequenceRef) -> SequenceRef:
    return SequenceRef(ref.sequence_id, ref.attempt)


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration
