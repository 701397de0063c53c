"""Generations and those who follow them, as plain as can be."""

from collections.abc import Sequence

from fakes.gateway_deployment import SPEC
from penstock_gateway.answer_buffer import AnswerBuffer
from penstock_gateway.events import CacheOutcome, CacheReport
from penstock_gateway.follower import Follower
from penstock_gateway.generation import Job
from penstock_gateway.requests import Criticality, SamplingRequest
from penstock_gateway.sampling import resolve_sampling
from penstock_gateway.text.vocabulary import Vocabulary
from penstock_gateway.timeline import Timeline
from penstock_shared.deadlines import Deadline
from penstock_shared.tracing import TraceContext

VOCABULARY = Vocabulary("bytes", tuple(bytes([value]) for value in range(256)))
_TRACE = TraceContext(1, 1, is_sampled=False)


def job(
    request_id: str = "r",
    *,
    num_choices: int = 1,
    tenant: str = "acme",
    criticality: Criticality = Criticality.STANDARD,
    deadline: Deadline | None = None,
    prompt_token_ids: Sequence[int] = (1,) * 10,
    prompt_logprobs: int | None = None,
) -> Job:
    """Ten tokens of prompt, unless told otherwise."""
    sampling = resolve_sampling(
        SamplingRequest(n=num_choices, prompt_logprobs=prompt_logprobs),
        SPEC.sampling_defaults,
        tokens_left=100,
        max_output_tokens=100,
        draw_seed=lambda: 1,
    )
    return Job(
        request_id=request_id,
        spec=SPEC,
        prompt_token_ids=prompt_token_ids,
        sampling=sampling,
        tenant=tenant,
        criticality=criticality,
        deadline=deadline or Deadline.after(60),
        trace=_TRACE,
        cache_salt=tenant.encode(),
    )


def open_buffer(*, is_streaming: bool = True) -> AnswerBuffer:
    """A client that may be as slow as it likes."""
    return AnswerBuffer(is_streaming=is_streaming, max_bytes=1 << 20, on_overflow=lambda: None)


def follower(
    of: Job,
    *,
    request_id: str | None = None,
    buffer: AnswerBuffer | None = None,
    criticality: Criticality | None = None,
    deadline: Deadline | None = None,
    is_returning_token_ids: bool = True,
) -> Follower:
    """Who began that job, unless told otherwise."""
    return Follower(
        request_id=request_id or of.request_id,
        criticality=criticality or of.criticality,
        deadline=deadline or of.deadline,
        trace=of.trace,
        cache=CacheReport(CacheOutcome.SKIPPED, ""),
        timeline=Timeline.begin(lambda: 0, lambda: 0),
        buffer=buffer or open_buffer(),
        is_returning_token_ids=is_returning_token_ids,
    )
