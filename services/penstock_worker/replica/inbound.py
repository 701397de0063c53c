"""`worker.v1` messages from a gateway, as plain values."""

from collections.abc import Callable, Iterator
from typing import Any

from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2
from penstock_shared.constraint import constraint_of
from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError
from penstock_shared.tracing import TraceContext
from penstock_worker.engine.pooling import EmbeddingOptions, Pooling
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest
from penstock_worker.replica.messages import (
    Cancel,
    Demand,
    Inbound,
    Open,
    ResendPrefixIndex,
    SequenceRef,
    Submit,
    SubmittedSequence,
)

_STANDARD = types_pb2.CRITICALITY_STANDARD
_POOLINGS = {
    worker_pb2.EMBED_POOLING_MEAN: Pooling.MEAN,
    worker_pb2.EMBED_POOLING_LAST_TOKEN: Pooling.LAST,
}


def inbound_message(request: worker_pb2.SessionRequest, next_key: Callable[[], int]) -> Inbound:
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
        case "resend_prefix_index":
            return ResendPrefixIndex()
        case _:
            raise FailedPreconditionError("a session message of an unknown kind")


def _sequences(group: worker_pb2.SequenceGroup, next_key: Callable[[], int]) -> Iterator[SubmittedSequence]:
    """The choices of `group` that are still to run."""
    prompt = tuple(group.prompt_token_ids)
    sampling, embedding = _sampling(group.sampling), _embedding(group)
    constraint = constraint_of(group.constraint)
    error = _unknown_enum(group) or _unknown_pooling(group)
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
            cache_salt=group.cache_salt,
            adapter=group.adapter if group.HasField("adapter") else None,
            adapter_revision=group.adapter_revision if group.HasField("adapter_revision") else None,
            embedding=embedding,
            constraint=constraint,
            **_prompt_scoring(group.sampling, choice),
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


def _prompt_scoring(sampling: types_pb2.ResolvedSampling, choice: worker_pb2.SequenceChoice) -> dict[str, Any]:
    """The fields of a `SequenceRequest` that say what is wanted of its prompt."""
    if not (sampling.HasField("prompt_logprobs") and choice.HasField("prompt_logprob_offset")):
        return {}
    return {
        "prompt_logprobs": sampling.prompt_logprobs,
        "prompt_logprob_offset": choice.prompt_logprob_offset,
    }


def _unknown_enum(group: worker_pb2.SequenceGroup) -> InvalidArgumentError | None:
    """A value that this version has no name for: taken as a number, it would go before all others."""
    if group.criticality in types_pb2.Criticality.values():
        return None
    names = ", ".join(f"{number} ({name})" for name, number in types_pb2.Criticality.items())
    return InvalidArgumentError("criticality", group.criticality, names)


def _unknown_pooling(group: worker_pb2.SequenceGroup) -> InvalidArgumentError | None:
    if not group.HasField("embed") or group.embed.pooling in _POOLINGS:
        return None
    return InvalidArgumentError("embed.pooling", group.embed.pooling, ", ".join(map(str, _POOLINGS)))


def _embedding(group: worker_pb2.SequenceGroup) -> EmbeddingOptions | None:
    if not group.HasField("embed"):
        return None
    return EmbeddingOptions(_POOLINGS.get(group.embed.pooling, Pooling.LAST), group.embed.normalize)


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


def _ref(ref: worker_pb2.SequenceRef) -> SequenceRef:
    return SequenceRef(ref.sequence_id, ref.attempt)
