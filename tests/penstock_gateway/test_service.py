"""Requests through the whole gateway, against replicas that answer."""

import grpc
import pytest
from fakes.byte_tokenizer import EOS
from fakes.gateway_deployment import MODEL, Deployment, StartDeployment, collect, details_of, kinds_of, text_of

from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2


async def test_a_stream_is_started_deltas_finished_final(deployment: Deployment) -> None:
    """The contract of `Generate`, on one plain request."""
    events = await collect(deployment.generate("Hi", return_token_ids=True, sampling={"seed": 7}))
    assert kinds_of(events) == ["started", "delta", "finished", "final"]
    assert text_of(events) == "Hello, world"
    assert bytes(token for event in events for token in event.delta.token_ids) == b"Hello, world"
    started, final = events[0].started, events[-1].final
    assert (started.model, started.model_revision, started.replica) == (MODEL, "revision-1", "replica-0")
    assert (started.routing_reason, started.prompt_tokens) == ("only replica: 0.00", 2)
    assert (started.cache.outcome, started.cache.reason) == (
        inference_pb2.CACHE_OUTCOME_SKIPPED,
        "no cache is configured",
    )
    assert (started.sampling.seed, started.sampling.temperature, started.sampling.top_p) == (7, 0.7, 0.9)
    assert len(started.trace_id) == 32
    assert events[-2].finished.reason == types_pb2.FINISH_REASON_STOP
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (2, 12)
    assert (final.num_resumed, final.is_exact_continuation) == (0, True)
    await deployment.until_idle()
