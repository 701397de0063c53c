"""A request that waits for a generation's answer, alone or with others that asked for the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from penstock_gateway.answer_buffer import AnswerBuffer
from penstock_gateway.choice import Choice
from penstock_gateway.events import CacheOutcome, CacheReport, Delta, Event, TokenLogprobs
from penstock_gateway.requests import Criticality
from penstock_gateway.timeline import Timeline
from penstock_shared.deadlines import Deadline
from penstock_shared.tracing import TraceContext


@dataclass(slots=True, eq=False)
class Follower:
    """What is one request's own of an answer that it may share.

    Attributes:
        request_id: its name.
        criticality, deadline: the generation runs at the highest and latest of its followers'.
        trace: the request's span.
        cache: what to report of the cache.
        timeline: notes the instants.
        buffer: where events go.
        is_returning_token_ids: deltas carry token ids.
    """

    request_id: str
    criticality: Criticality
    deadline: Deadline
    trace: TraceContext
    cache: CacheReport
    timeline: Timeline
    buffer: AnswerBuffer
    is_returning_token_ids: bool

    @property
    def has_joined(self) -> bool:
        """Whether another request began the generation."""
        return self.cache.outcome is CacheOutcome.JOINED

    def take_output(self, choice: int, text: str, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs]) -> None:
        """More of a choice, as far as this client is shown it."""
        delta = self._delta(choice, text, token_ids, logprobs)
        if delta is not None:
            self.buffer.put(delta)

    def catch_up(self, choices: Sequence[Choice]) -> None:
        """What there was of the answer before this request came."""
        if any(choice.output_token_ids for choice in choices):
            self.timeline.token_came()
        events: list[Event] = []
        for choice in choices:
            delta = self._delta(choice.index, choice.text, choice.output_token_ids, choice.logprobs)
            if delta is not None:
                events.append(delta)
            if choice.finished is not None:
                events.append(choice.finished)
        self.buffer.put_earlier(events)

    def _delta(
        self, choice: int, text: str, token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs]
    ) -> Delta | None:
        """None where there is nothing to show. A delta of its own: buffers merge into theirs."""
        shown_ids = list(token_ids) if self.is_returning_token_ids else []
        return Delta(choice, text, shown_ids, list(logprobs)) if text or shown_ids or logprobs else None
