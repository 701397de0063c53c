"""Adds events up to an answer, and holds the server to the contract while doing so."""

from dataclasses import dataclass, field

import grpc

from penstock.client.answer import (
    Answer,
    Choice,
    Delta,
    Event,
    Final,
    Finished,
    FinishReason,
    PromptLogprobs,
    Started,
    TokenLogprobs,
)
from penstock.client.errors import InternalError


@dataclass(slots=True)
class _OpenChoice:
    texts: list[str] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    end: Finished | None = None

    def close(self, index: int) -> Choice:
        end = self.end or Finished(index, FinishReason.UNSPECIFIED)
        return Choice(
            index=index,
            text="".join(self.texts),
            token_ids=tuple(self.token_ids),
            logprobs=tuple(self.logprobs),
            finish_reason=end.reason,
            stop_string=end.stop_string,
            stop_token_id=end.stop_token_id,
        )


class AnswerAssembly:
    """Takes a stream's events in order and gives the answer once the last one is in."""

    def __init__(self) -> None:
        self.started: Started | None = None
        self.final: Final | None = None
        self._choices: dict[int, _OpenChoice] = {}
        self._prompt_logprobs: list[TokenLogprobs] = []

    def add(self, event: Event) -> Event:
        """Takes one event and gives it back."""
        match event:
            case Started():
                self.started = event
            case PromptLogprobs():
                self._prompt_logprobs += event.tokens
            case Delta():
                self._add_delta(event)
            case Finished():
                self._choice(event.choice).end = event
            case Final():
                self.final = event
        return event

    def answer(self) -> Answer:
        """The whole answer.

        Raises:
            InternalError: the events do not make one up: the first, the last or every choice is missing.
        """
        if self.started is None or self.final is None or not self._choices:
            raise InternalError(grpc.StatusCode.INTERNAL, "the answer ended without all of its events")
        started, final = self.started, self.final
        return Answer(
            choices=tuple(choice.close(index) for index, choice in sorted(self._choices.items())),
            usage=final.usage,
            timings=final.timings,
            model=started.model,
            model_revision=started.model_revision,
            replica=started.replica,
            routing_reason=started.routing_reason,
            cache=started.cache,
            sampling=started.sampling,
            request_id=started.request_id,
            trace_id=started.trace_id,
            num_resumed=final.num_resumed,
            is_exact_continuation=final.is_exact_continuation,
            prompt_logprobs=tuple(self._prompt_logprobs),
        )

    def _add_delta(self, delta: Delta) -> None:
        choice = self._choice(delta.choice)
        choice.texts.append(delta.text)
        choice.token_ids.extend(delta.token_ids)
        choice.logprobs.extend(delta.logprobs)

    def _choice(self, index: int) -> _OpenChoice:
        return self._choices.setdefault(index, _OpenChoice())
