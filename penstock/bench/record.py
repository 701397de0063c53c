"""What is noted of one request. All times are in seconds from the start of the run."""

from dataclasses import dataclass, field

from penstock.client import Delta, Event, PenstockError, Started

OK = "OK"


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request that has ended.

    Attributes:
        due_s: when it had to be sent by the plan. Latencies count from here, so that a request which could not leave
            in time does not look fast (coordinated omission).
        sent_s: when it was sent.
        ended_s: when its last event, or its error, came.
        token_times_s: when messages with tokens came.
        token_counts: how many tokens each of those brought.
        num_prompt_tokens: of the prompt as it was sent.
        code: name of the gRPC code.
        message: of the error.
        replica: that answered.
        cache: outcome at the cache.
    """

    due_s: float
    sent_s: float
    ended_s: float
    token_times_s: tuple[float, ...] = ()
    token_counts: tuple[int, ...] = ()
    num_prompt_tokens: int = 0
    code: str = OK
    message: str = ""
    replica: str = ""
    cache: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether a whole answer came."""
        return self.code == OK

    @property
    def num_output_tokens(self) -> int:
        """Tokens received."""
        return sum(self.token_counts)

    @property
    def lateness_s(self) -> float:
        """How much later than due it was sent."""
        return self.sent_s - self.due_s

    @property
    def time_to_first_token_s(self) -> float | None:
        """From due to the first token; None where none came."""
        return self.token_times_s[0] - self.due_s if self.token_times_s else None

    @property
    def end_to_end_s(self) -> float:
        """From due to the end."""
        return self.ended_s - self.due_s

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """Time between one message with tokens and the next: what a reader waits for."""
        return tuple(after - before for before, after in zip(self.token_times_s, self.token_times_s[1:], strict=False))

    @property
    def time_per_output_token_s(self) -> float | None:
        """Mean time of the tokens after the first message; None where there are none."""
        num_later = sum(self.token_counts[1:])
        return (self.token_times_s[-1] - self.token_times_s[0]) / num_later if num_later else None


@dataclass(slots=True)
class RecordInProgress:
    """Takes the events of one request as they come."""

    due_s: float
    sent_s: float
    num_prompt_tokens: int
    output_token_ids: list[int] = field(default_factory=list)
    _times_s: list[float] = field(default_factory=list)
    _counts: list[int] = field(default_factory=list)
    _replica: str = ""
    _cache: str = ""

    def take(self, event: Event, at_s: float) -> None:
        """An event came."""
        match event:
            case Started():
                self._replica, self._cache = event.replica, str(event.cache.outcome)
            case Delta() if event.token_ids:
                self._times_s.append(at_s)
                self._counts.append(len(event.token_ids))
                self.output_token_ids.extend(event.token_ids)

    def end(self, at_s: float, error: PenstockError | None = None) -> RequestRecord:
        """The request has ended, with `error` where it failed."""
        return RequestRecord(
            due_s=self.due_s,
            sent_s=self.sent_s,
            ended_s=at_s,
            token_times_s=tuple(self._times_s),
            token_counts=tuple(self._counts),
            num_prompt_tokens=self.num_prompt_tokens,
            code=OK if error is None else error.code.name,
            message="" if error is None else error.message,
            replica=self._replica,
            cache=self._cache,
        )
