"""The sequences that run here: from session to engine, and from the engine's reports back. Synchronous."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable

from penstock_shared.errors import DeadlineExceededError, PenstockError
from penstock_worker.engine.sequence import FinishReason, SequenceEnd, SequenceOutput
from penstock_worker.replica.engine_loop import CancelReport, EngineLoop, StepReport
from penstock_worker.replica.messages import End, Output, Step
from penstock_worker.replica.session import Placement, Session
from penstock_worker.replica.spans import GenerationSpans

_NS_PER_S = 1e9


class RunningSequences:
    """Each has exactly one terminal event: from the engine, or, where it was stopped, when the engine has dropped it.

    Args:
        engine: runs them.
        spans: records those that have ended.
        call_later: `loop.call_later`; for deadlines.
    """

    def __init__(
        self, engine: EngineLoop, spans: GenerationSpans, call_later: Callable[..., asyncio.TimerHandle]
    ) -> None:
        self._engine = engine
        self._spans = spans
        self._call_later = call_later
        self._placements: dict[int, Placement] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self.num_finished = 0
        self.num_cancelled = 0
        self.is_idle = asyncio.Event()
        self.is_idle.set()

    def __len__(self) -> int:
        return len(self._placements)

    def start(self, placement: Placement) -> None:
        """Hands an accepted sequence to the engine."""
        deadline_ns = placement.sequence.deadline_ns
        self._placements[placement.key] = placement
        self.is_idle.clear()
        if deadline_ns is not None:
            remaining_s = (deadline_ns - time.time_ns()) / _NS_PER_S
            self._timers[placement.key] = self._call_later(remaining_s, self._expire, placement)
        self._engine.add(placement.sequence.request)

    def stop(self, placement: Placement, error: PenstockError | None = None) -> None:
        """Has the engine drop a sequence, for `error` or because it was cancelled. Its terminal event follows."""
        if not placement.is_closing:
            placement.is_closing = True
            placement.closing_error = error
            self._engine.cancel(placement.key)

    def deliver_step(self, report: StepReport) -> bool:
        """Gives every session its outputs of a step, in one message; whether any sequence has ended."""
        result = report.result
        by_session: dict[Session, list[Output]] = defaultdict(list)
        has_ended = False
        for made in result.outputs:
            placement = self._placements[made.key]
            by_session[placement.session].append(self._output(placement, made))
            has_ended |= made.end is not None
        for session, outputs in by_session.items():
            session.send(Step(result.step, result.duration_s, tuple(outputs)))
        return has_ended

    def deliver_cancels(self, report: CancelReport) -> None:
        """Gives sequences that were stopped their terminal event."""
        for key in report.keys:
            placement = self._placements[key]
            error = placement.closing_error
            end = End(FinishReason.CANCELLED if error is None else FinishReason.ERROR, error=error)
            self._finish(placement, end, None)
            output = Output(placement.sequence.ref, end=end)
            placement.session.send(Step(report.engine_step, 0.0, (output,)))

    def _expire(self, placement: Placement) -> None:
        self.stop(placement, DeadlineExceededError("the deadline passed"))

    def _output(self, placement: Placement, made: SequenceOutput) -> Output:
        unwanted = max(0, placement.sequence.num_unwanted_logprobs - placement.num_output_tokens)
        placement.num_output_tokens += len(made.token_ids)
        if placement.first_output_ns is None and made.token_ids:
            placement.first_output_ns = time.time_ns()
            placement.session.release_prefill(placement)
        end = None if made.end is None else _end_of(made.end)
        if end is not None:
            self._finish(placement, end, made.end)
        return Output(
            placement.sequence.ref,
            tuple(made.token_ids),
            tuple(made.logprobs[unwanted:]),
            end,
            tuple(made.prompt_logprobs),
            made.embedding,
        )

    def _finish(self, placement: Placement, end: End, timeline: SequenceEnd | None) -> None:
        del self._placements[placement.key]
        placement.session.release(placement)
        timer = self._timers.pop(placement.key, None)
        if timer is not None:
            timer.cancel()
        if timeline is None:
            self.num_cancelled += 1
        else:
            self.num_finished += 1
        if not self._placements:
            self.is_idle.set()
        self._spans.record(placement, end, timeline, time.time_ns())


def _end_of(end: SequenceEnd) -> End:
    return End(
        reason=end.reason,
        stop_token_id=end.stop_token_id,
        error=end.error,
        cached_prompt_tokens=end.cached_prompt_tokens,
        num_preemptions=end.num_preemptions,
        num_drafted_tokens=end.num_drafted_tokens,
        num_accepted_tokens=end.num_accepted_tokens,
    )
