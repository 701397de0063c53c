"""One output of a request: its tokens, its text so far, and where it is being generated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock_gateway.events import Finished, FinishReason, TokenLogprobs
from penstock_gateway.text.detokenizer import Detokenizer
from penstock_gateway.text.stop_strings import StopScan, StopStrings
from penstock_gateway.text.vocabulary import Vocabulary


class Canceller(Protocol):
    """The replica that a choice is at, as far as stopping it goes."""

    def cancel(self, sequence_id: int, attempt: int) -> None:
        """Stops one placement of a sequence at the next step."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a choice is being generated, and which try that is."""

    replica: Canceller
    attempt: int


class Choice:
    """Turns the tokens of one output into text, up to a stop string.

    Attributes:
        index: of the choice in its request.
        sequence_id: names it to workers; unique in this gateway.
        output_token_ids: all that counts: none past a stop string, the one that completed it included.
        logprobs: of these tokens, where they are asked for.
        placement: None while it waits, and when it is finished.
        finished: how it ended; None until then.
    """

    __slots__ = (
        "_detokenizer",
        "_pieces",
        "_stops",
        "finished",
        "index",
        "logprobs",
        "output_token_ids",
        "placement",
        "sequence_id",
    )

    def __init__(self, index: int, sequence_id: int, vocabulary: Vocabulary, stops: Sequence[str]) -> None:
        self.index = index
        self.sequence_id = sequence_id
        self.output_token_ids: list[int] = []
        self.logprobs: list[TokenLogprobs] = []
        self.placement: Placement | None = None
        self.finished: Finished | None = None
        self._pieces: list[str] = []
        self._detokenizer = Detokenizer(vocabulary)
        self._stops = StopStrings(stops) if stops else None

    def __repr__(self) -> str:
        return f"Choice({self.index}, sequence={self.sequence_id}, tokens={len(self.output_token_ids)})"

    @property
    def is_finished(self) -> bool:
        """Whether its output is complete."""
        return self.finished is not None

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why it ended; None until then."""
        return None if self.finished is None else self.finished.reason

    @property
    def text(self) -> str:
        """All that was delivered so far."""
        return "".join(self._pieces)

    def delivered(self, text: str, logprobs: Sequence[TokenLogprobs]) -> None:
        """Notes what goes to clients."""
        if text:
            self._pieces.append(text)
        self.logprobs += logprobs

    def feed(self, token_ids: Sequence[int]) -> tuple[StopScan, int]:
        """Takes tokens from the worker. Returns their text, and how many of them count."""
        if self._stops is None:
            self.output_token_ids.extend(token_ids)
            return StopScan(self._detokenizer.feed(token_ids)), len(token_ids)
        return self._feed_watched(token_ids, self._stops)

    def finish(self) -> StopScan:
        """The rest of the text, when the worker has ended the output."""
        rest = self._detokenizer.finish()
        if self._stops is None:
            return StopScan(rest)
        scan = self._stops.feed(rest)
        return scan if scan.matched is not None else StopScan(scan.text + self._stops.finish())

    def _feed_watched(self, token_ids: Sequence[int], stops: StopStrings) -> tuple[StopScan, int]:
        text = ""
        for count, token_id in enumerate(token_ids, start=1):
            self.output_token_ids.append(token_id)
            scan = stops.feed(self._detokenizer.feed((token_id,)))
            text += scan.text
            if scan.matched is not None:
                return StopScan(text, scan.matched), count
        return StopScan(text), len(token_ids)
