"""Whole answers: made of a generation that has ended well, and told to a client as if they were being generated."""

from dataclasses import dataclass

from penstock_gateway.events import Delta, Event, Finished, FinishReason, Started, Usage
from penstock_gateway.generation import Generation

_COMPLETE = frozenset({FinishReason.STOP, FinishReason.LENGTH})


@dataclass(frozen=True, slots=True)
class StoredChoice:
    """One output; its index is its place in the answer."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    stop_string: str | None = None
    stop_token_id: int | None = None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A whole answer and the revision of the weights that gave it."""

    choices: tuple[StoredChoice, ...]
    usage: Usage
    model_revision: str

    @property
    def is_complete(self) -> bool:
        """Whether every choice came to its own end, so that the answer may serve another wording of its prompt."""
        return all(choice.finish_reason is FinishReason.STOP for choice in self.choices)


def answer_of(generation: Generation) -> StoredAnswer | None:
    """What there is to keep of a generation: None where it did not end well, or is not the one answer of its model."""
    replica = generation.replica
    if replica is None or replica.revision != generation.job.spec.revision or not generation.is_exact:
        return None
    choices: list[StoredChoice] = []
    for choice in generation.choices:
        ended = choice.finished
        if ended is None or ended.reason not in _COMPLETE:
            return None
        ids = tuple(choice.output_token_ids)
        choices.append(StoredChoice(choice.text, ids, ended.reason, ended.stop_string, ended.stop_token_id))
    return StoredAnswer(tuple(choices), generation.usage(), replica.revision)


def events_of(answer: StoredAnswer, started: Started, *, is_returning_token_ids: bool) -> list[Event]:
    """The events of an answer but the last, in the order of a stream."""
    events: list[Event] = [started]
    for index, choice in enumerate(answer.choices):
        shown_ids = list(choice.token_ids) if is_returning_token_ids else []
        if choice.text or shown_ids:
            events.append(Delta(index, choice.text, shown_ids, []))
        events.append(Finished(index, choice.finish_reason, choice.stop_string, choice.stop_token_id))
    return events
