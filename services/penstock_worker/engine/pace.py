"""What decides on the length of drafts: `draft_pace.DraftPace`, or `fixed_pace.FixedPace`."""

from typing import Protocol

from penstock_worker.engine.draft_pace import DraftRecord


class Pace(Protocol):
    """Says how much to draft, and is told what became of it."""

    def allows_drafts(self, num_rows: int) -> bool:
        """Whether a step that has `num_rows` rows without drafts may have any. Asked once a step."""
        ...

    def length(self, record: DraftRecord, num_rows: int) -> int:
        """How many tokens to draft for a sequence in a step of `num_rows` rows without drafts. Asked once a step."""
        ...

    def judged(self, record: DraftRecord, num_drafted: int, num_accepted: int) -> None:
        """A draft of a sequence was compared with what the model gave."""
        ...

    def drafted(self, num_tokens: int, duration_s: float) -> None:
        """To draft so many tokens has taken so long."""
        ...

    def took(self, num_rows: int, duration_s: float) -> None:
        """A step of so many rows that only decoded has taken so long, without the drafting."""
        ...

    def gave(self, num_rows: int, num_tokens: int, duration_s: float, *, has_drafts: bool) -> None:
        """It had `num_rows` rows without drafts, and has given so many tokens, in so long a time with the drafting."""
        ...
