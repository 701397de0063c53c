"""The messages of `worker.v1`, to and from plain values."""

import time
from collections.abc import Iterator, Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from penstock.types.v1 import types_pb2
from penstock.worker.v1 import worker_pb2
from penstock_gateway.choice import Choice
from penstock_gateway.dispatch.credit import Credit
from penstock_gateway.dispatch.prefix_map import PrefixMap
from penstock_gateway.events import TokenLogprobs
from penstock_gateway.generation import Job
from penstock_gateway.requests import EmbeddingOptions, Pooling
from penstock_gateway.sampling import ResolvedSampling
from penstock_shared.constraint import constraint_message

# Raised with every field of a submission whose being ignored would give another answer: 2 has embeddings, adapters,
# constraints and prompt log probabilities.
CONTRACT_VERSION = 2
# Well under the transport's limit, so that a message is never refused for its size.
_MAX_SUBMIT_BYTES = 1 << 20
_POOLINGS = {
    Pooling.MEAN: worker_pb2.EMBED_POOLING_MEAN,
    Pooling.LAST_TOKEN: worker_pb2.EMBED_POOLING_LAST_TOKEN,
}


def open_message(gateway_id: str, tokenizer_fingerprint: str) -> worker_pb2.SessionRequest:
    """The first message of a session."""
    opening = worker_pb2.Open(
        contract_version=CONTRACT_VERSION, gateway_id=gateway_id, tokenizer_fingerprint=tokenizer_fingerprint
    )
    return worker_pb2.SessionRequest(open=opening)


def submit_messages(
    groups: Sequence[worker_pb2.SequenceGroup], credit_epoch: int, max_bytes: int = _MAX_SUBMIT_BYTES
) -> Iterator[worker_pb2.SessionRequest]:
    """The groups in as few messages as their bytes allow; a single group is never split."""
    batch: list[worker_pb2.SequenceGroup] = []
    size = 0
    for group in groups:
        group_size = group.ByteSize()
        if batch and size + group_size > max_bytes:
            yield _submit_message(batch, credit_epoch)
            batch, size = [], 0
        batch.append(group)
        size += group_size
    if batch:
        yield _submit_message(batch, credit_epoch)


def cancel_message(refs: Sequence[tuple[int, int]]) -> worker_pb2.SessionRequest:
    """Stops placements, given as (sequence id, attempt)."""
    sequences = [worker_pb2.SequenceRef(sequence_id=sequence_id, attempt=attempt) for sequence_id, attempt in refs]
    return worker_pb2.SessionRequest(cancel=worker_pb2.Cancel(sequences=sequences))


def demand_message(num_sequences: int, prefill_tokens: int) -> worker_pb2.SessionRequest:
    """What waits in the gateway."""
    return worker_pb2.SessionRequest(
        demand=worker_pb2.Demand(num_sequences=num_sequences, prefill_tokens=prefill_tokens)
    )


def resend_prefix_index_message() -> worker_pb2.SessionRequest:
    """Asks for a snapshot of the prefix index."""
    return worker_pb2.SessionRequest(resend_prefix_index=worker_pb2.ResendPrefixIndex())


def prefix_map_of(hello: worker_pb2.Hello) -> PrefixMap:
    """What a replica says at first of its prefix index."""
    prefixes = PrefixMap(
        chain_function=hello.prefix_index.chain_function,
        revision=hello.revision,
        block_size=hello.prefix_index.block_size,
        max_blocks=hello.limits.num_kv_blocks,
    )
    take_prefix_snapshot(prefixes, hello.prefix_index)
    return prefixes


def take_prefix_snapshot(prefixes: PrefixMap, snapshot: worker_pb2.PrefixIndexSnapshot) -> None:
    """Hands a snapshot, or a part of one, over."""
    prefixes.take_snapshot(snapshot.event_number, snapshot.block_hashes, is_continuation=snapshot.is_continuation)


def prefix_changes_of(events: worker_pb2.PrefixEvents) -> Iterator[tuple[bytes, bool]]:
    """Name of each block, and whether it was stored."""
    for event in events.events:
        is_stored = event.HasField("stored_block_hash")
        yield event.stored_block_hash if is_stored else event.removed_block_hash, is_stored


def sequence_group(
    job: Job, choices: Sequence[Choice], attempt: int, *, num_prompt_logprobs: int
) -> worker_pb2.SequenceGroup:
    """Choices of a job, with the output that they have so far, and how many tokens of the prompt need no score."""
    adapter = job.adapter_spec
    return worker_pb2.SequenceGroup(
        request_id=job.request_id,
        prompt_token_ids=job.prompt_token_ids,
        choices=[_sequence_choice(choice, job.sampling, num_prompt_logprobs) for choice in choices],
        attempt=attempt,
        sampling=resolved_sampling(job.sampling),
        constraint=constraint_message(job.constraint),
        deadline=_timestamp_in(job.deadline.remaining_s()),
        tenant=job.tenant,
        criticality=types_pb2.Criticality.ValueType(job.criticality.value),
        traceparent=job.trace.traceparent(),
        cache_salt=job.cache_salt,
        adapter=job.adapter,
        adapter_revision=None if adapter is None else adapter.revision,
        embed=None if job.embedding is None else _embed_options(job.embedding),
    )


def resolved_sampling(sampling: ResolvedSampling) -> types_pb2.ResolvedSampling:
    """The parameters in force, as a message."""
    return types_pb2.ResolvedSampling(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        seed=sampling.seed,
        n=sampling.n,
        max_tokens=sampling.max_tokens,
        min_tokens=sampling.min_tokens,
        stop=sampling.stop,
        stop_token_ids=sampling.stop_token_ids,
        logit_bias=sampling.logit_bias,
        logprobs=sampling.logprobs,
        prompt_logprobs=sampling.prompt_logprobs,
        ignore_eos=sampling.ignore_eos,
    )


def credit_of(message: worker_pb2.Credit) -> Credit:
    """A grant."""
    return Credit(message.epoch, message.num_sequences, message.prefill_tokens, message.kv_blocks)


def logprobs_of(messages: Sequence[types_pb2.TokenLogprobs]) -> list[TokenLogprobs]:
    """Log probabilities of tokens, in their order."""
    return [
        TokenLogprobs(token.token_id, token.logprob, tuple((top.token_id, top.logprob) for top in token.top))
        for token in messages
    ]


def seconds_of(duration: Duration) -> float:
    """A duration in seconds."""
    return duration.seconds + duration.nanos / 1e9


def _submit_message(groups: Sequence[worker_pb2.SequenceGroup], credit_epoch: int) -> worker_pb2.SessionRequest:
    return worker_pb2.SessionRequest(submit=worker_pb2.Submit(credit_epoch=credit_epoch, groups=groups))


def _sequence_choice(choice: Choice, sampling: ResolvedSampling, num_prompt_logprobs: int) -> worker_pb2.SequenceChoice:
    """The first choice brings what all of them share."""
    is_scoring = sampling.prompt_logprobs is not None and choice.index == 0
    return worker_pb2.SequenceChoice(
        sequence_id=choice.sequence_id,
        index=choice.index,
        output_token_ids=choice.output_token_ids,
        logprob_offset=len(choice.output_token_ids),
        prompt_logprob_offset=1 + num_prompt_logprobs if is_scoring else None,
    )


def _embed_options(embedding: EmbeddingOptions) -> worker_pb2.EmbedOptions:
    return worker_pb2.EmbedOptions(pooling=_POOLINGS[embedding.pooling], normalize=embedding.is_normalized)


def _timestamp_in(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromNanoseconds(time.time_ns() + int(seconds * 1e9))
    return stamp
