"""What a session has yet to send: bounded, and merging while the reader is slow.

The engine never waits for a reader. Steps not yet sent become one; of heartbeats and credits the last one counts. So
the outbox holds at most one message of each kind, and only outputs and acknowledgements make it grow. Of the prefix
index it holds nothing: what there is to say is asked of the feed when everything else has been sent.
"""

from collections.abc import Callable
from dataclasses import replace

from penstock_worker.replica.messages import (
    Credit,
    Draining,
    Heartbeat,
    Hello,
    Outbound,
    Output,
    SequenceRef,
    Step,
    SubmitAck,
)
from penstock_worker.replica.prefix_feed import PrefixFeed

# Acknowledgements leave before outputs, so that no output precedes the acknowledgement of its sequence; credit leaves
# after the outputs that freed it.
_SEND_ORDER: tuple[type[Outbound], ...] = (Hello, SubmitAck, Step, Credit, Draining, Heartbeat)


# A number of an embedding is a quarter of what a log probability takes.
_FLOATS_PER_COST = 4


class Outbox:
    """Collects messages for one reader. Synchronous; the owner wakes the writer.

    Args:
        max_cost: bound for the tokens, log probabilities and acknowledgements waiting.
        max_stall_s: longest time that something may wait while nothing at all is taken, seconds.
        clock: monotonic seconds.
        prefix_feed: tells of the prefix index.
    """

    def __init__(
        self, *, max_cost: int, max_stall_s: float, clock: Callable[[], float], prefix_feed: PrefixFeed
    ) -> None:
        self.prefix_feed = prefix_feed
        self._max_cost = max_cost
        self._max_stall_s = max_stall_s
        self._clock = clock
        self._waiting: dict[type[Outbound], Outbound] = {}
        self._outputs: dict[SequenceRef, Output] = {}
        self._cost = 0
        self._seq = 0
        self._progress_s = clock()

    def __repr__(self) -> str:
        return f"Outbox(cost={self._cost}/{self._max_cost}, seq={self._seq}, waiting={len(self._waiting)})"

    def push(self, message: Outbound) -> None:
        """Adds a message; what waits already of its kind takes it in."""
        if not self._waiting:
            self._progress_s = self._clock()
        kind = type(message)
        waiting = self._waiting.get(kind)
        if isinstance(message, Step):
            self._collect(message.outputs)
        elif isinstance(message, SubmitAck):
            self._cost += len(message.results)
            if isinstance(waiting, SubmitAck):
                message = SubmitAck(waiting.results + message.results)
        self._waiting[kind] = message

    def pop(self) -> tuple[int, Outbound] | None:
        """Takes the next message and its `seq` (from 1, without gaps); None where nothing waits."""
        kind = next((kind for kind in _SEND_ORDER if kind in self._waiting), None)
        if kind is None and not self.prefix_feed.has_news:
            return None
        message = self.prefix_feed.next_message() if kind is None else self._waiting.pop(kind)
        if isinstance(message, Step):
            message = replace(message, outputs=tuple(self._outputs.values()))
            self._outputs.clear()
            self._cost -= sum(_cost(output) for output in message.outputs)
        elif isinstance(message, SubmitAck):
            self._cost -= len(message.results)
        self._seq += 1
        self._progress_s = self._clock()
        return self._seq, message

    @property
    def is_overdue(self) -> bool:
        """Whether the reader has fallen so far behind that the session must end."""
        if self._cost > self._max_cost:
            return True
        return bool(self._waiting) and self._clock() - self._progress_s > self._max_stall_s

    def _collect(self, outputs: tuple[Output, ...]) -> None:
        for output in outputs:
            self._cost += _cost(output)
            earlier = self._outputs.get(output.ref)
            self._outputs[output.ref] = output if earlier is None else _merged(earlier, output)


def _merged(earlier: Output, later: Output) -> Output:
    return Output(
        ref=later.ref,
        token_ids=earlier.token_ids + later.token_ids,
        logprobs=earlier.logprobs + later.logprobs,
        end=later.end,
        prompt_logprobs=earlier.prompt_logprobs + later.prompt_logprobs,
        embedding=later.embedding,
    )


def _cost(output: Output) -> int:
    num_logprobs = sum(1 + len(entry.top) for entry in (*output.logprobs, *output.prompt_logprobs))
    return len(output.token_ids) + num_logprobs + len(output.embedding) // _FLOATS_PER_COST + (output.end is not None)
