"""Spans of a sequence's life at the replica, built from its recorded times when it has ended."""

from penstock_shared import semconv
from penstock_shared.tracing import AttributeValue, TraceContext, Tracer
from penstock_worker.engine.sequence import SequenceEnd
from penstock_worker.replica.messages import End
from penstock_worker.replica.session import Placement

GENERATE = "engine.generate"
QUEUE = "engine.queue"
PREFILL = "engine.prefill"
DECODE = "engine.decode"


class GenerationSpans:
    """Records `engine.generate` and the phases below it: queue, prefill, decode.

    Args:
        tracer: of this process.
        replica_id: named in the spans.
    """

    def __init__(self, tracer: Tracer, replica_id: str) -> None:
        self._tracer = tracer
        self._replica_id = replica_id

    def record(self, placement: Placement, end: End, timeline: SequenceEnd | None, end_ns: int) -> None:
        """Records a sequence that has ended.

        Args:
            placement: what ran.
            end: how it ended.
            timeline: the engine's stamps; None where it was stopped, then what the replica saw itself is used.
            end_ns: when, nanoseconds since the epoch.
        """
        parent = placement.sequence.trace
        if parent is None or not parent.is_sampled:
            return
        trace = self._tracer.begin(parent)
        self._tracer.record(
            GENERATE,
            trace,
            parent=parent,
            start_ns=placement.accepted_ns,
            end_ns=end_ns,
            attributes=self._attributes(placement, end),
            error=None if end.error is None else end.error.reason,
        )
        for name, start_ns, phase_end_ns in _phases(placement, timeline, end_ns):
            self._record_phase(name, trace, start_ns, phase_end_ns)

    def _record_phase(self, name: str, parent: TraceContext, start_ns: int, end_ns: int) -> None:
        self._tracer.record(name, self._tracer.begin(parent), parent=parent, start_ns=start_ns, end_ns=end_ns)

    def _attributes(self, placement: Placement, end: End) -> dict[str, AttributeValue]:
        sequence = placement.sequence
        return {
            semconv.PENSTOCK_REPLICA: self._replica_id,
            semconv.GEN_AI_RESPONSE_ID: sequence.request_id,
            semconv.GEN_AI_RESPONSE_FINISH_REASONS: [end.reason.value],
            semconv.GEN_AI_USAGE_INPUT_TOKENS: len(sequence.request.prompt_token_ids),
            semconv.GEN_AI_USAGE_OUTPUT_TOKENS: placement.num_output_tokens,
            semconv.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: end.cached_prompt_tokens,
            semconv.PENSTOCK_NUM_PREEMPTIONS: end.num_preemptions,
        }


def _phases(placement: Placement, timeline: SequenceEnd | None, end_ns: int) -> list[tuple[str, int, int]]:
    """Name, start and end of each phase that was entered."""
    queued_ns = placement.accepted_ns
    prefill_ns = None if timeline is None else timeline.prefill_start_ns
    decode_ns = placement.first_output_ns if timeline is None else timeline.first_token_ns
    if prefill_ns is None and decode_ns is None:
        return [(QUEUE, queued_ns, end_ns)]
    # A sequence that was stopped left no stamp of its prefill's start: it counts from the acceptance.
    prefill_ns = prefill_ns or queued_ns
    phases = [(QUEUE, queued_ns, prefill_ns), (PREFILL, prefill_ns, decode_ns or end_ns)]
    return phases if decode_ns is None else [*phases, (DECODE, decode_ns, end_ns)]
