"""When the phases of a request ended."""

from collections.abc import Callable
from dataclasses import dataclass, field

from penstock_gateway.events import Timings


@dataclass(slots=True)
class Timeline:
    """Instants of one request, monotonic nanoseconds; None where it did not come so far.

    Attributes:
        clock_ns: the monotonic clock.
        arrived_wall_ns: the arrival by the wall clock, for spans.
        looking_ns, looked_up_ns: begin and end of the cache lookup, which goes beside tokenizing.
        is_found: whether it found the answer; then nothing was generated.
    """

    clock_ns: Callable[[], int] = field(repr=False)
    arrived_wall_ns: int
    arrived_ns: int
    admitted_ns: int | None = None
    looking_ns: int | None = None
    looked_up_ns: int | None = None
    is_found: bool = False
    tokenized_ns: int | None = None
    dispatched_ns: int | None = None
    first_token_ns: int | None = None
    last_token_ns: int | None = None
    first_sent_ns: int | None = None
    ended_ns: int | None = None

    @classmethod
    def begin(cls, clock_ns: Callable[[], int], wall_clock_ns: Callable[[], int]) -> "Timeline":
        """A request has arrived."""
        return cls(clock_ns, wall_clock_ns(), clock_ns())

    def admitted(self) -> None:
        """It has its place."""
        self.admitted_ns = self.clock_ns()

    def looking(self) -> None:
        """The cache is being asked."""
        self.looking_ns = self.clock_ns()

    def looked_up(self, *, is_found: bool) -> None:
        """The cache has answered, or was given up."""
        self.looked_up_ns = self.clock_ns()
        self.is_found = is_found

    def tokenized(self) -> None:
        """Its prompt is token ids."""
        self.tokenized_ns = self.clock_ns()

    def dispatched(self) -> None:
        """A replica has it. A later replica does not change when the first one had it."""
        if self.dispatched_ns is None:
            self.dispatched_ns = self.clock_ns()

    def token_came(self) -> None:
        """Output came from the replica."""
        self.last_token_ns = self.clock_ns()
        if self.first_token_ns is None:
            self.first_token_ns = self.last_token_ns

    def sent(self) -> None:
        """Output is being handed to the transport."""
        if self.first_sent_ns is None:
            self.first_sent_ns = self.clock_ns()

    def ended(self) -> None:
        """Nothing of it is left."""
        self.ended_ns = self.clock_ns()

    def phases(self) -> list[tuple[str, int, int]]:
        """Name, begin and end of each phase that was begun; the last one ends with the request."""
        asked: tuple[tuple[str, int | None, int | None], ...] = (
            ("admit", self.arrived_ns, self.admitted_ns),
            ("cache", self.looking_ns, self.looked_up_ns),
        )
        generated = (
            ("queue", self.tokenized_ns, self.dispatched_ns),
            ("prefill", self.dispatched_ns, self.first_token_ns),
            ("decode", self.first_token_ns, self.last_token_ns),
        )
        tokenized = (("tokenize", self.admitted_ns, self.tokenized_ns),)
        if self.is_found:
            # The answer to the very same request was given before the prompt had become token ids.
            instants = asked if self.tokenized_ns is None else asked + tokenized
        else:
            instants = asked + tokenized + generated
        end_ns = self.clock_ns() if self.ended_ns is None else self.ended_ns
        return [(name, begin, end_ns if end is None else end) for name, begin, end in instants if begin is not None]

    def wall_ns(self, instant_ns: int) -> int:
        """An instant of the monotonic clock by the wall clock."""
        return self.arrived_wall_ns + instant_ns - self.arrived_ns

    def timings(self) -> Timings:
        """Durations of the phases so far; the total, up to now."""
        lasted = {name: end - begin for name, begin, end in self.phases()}
        return Timings(
            admit_ns=lasted["admit"],
            cache_ns=lasted.get("cache", 0),
            tokenize_ns=lasted.get("tokenize", 0),
            queue_ns=lasted.get("queue", 0),
            prefill_ns=lasted.get("prefill", 0),
            decode_ns=lasted.get("decode", 0),
            total_ns=self.clock_ns() - self.arrived_ns,
            time_to_first_token_ns=None if self.first_sent_ns is None else self.first_sent_ns - self.arrived_ns,
        )
