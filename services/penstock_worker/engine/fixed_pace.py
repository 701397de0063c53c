"""Drafts of one length, whether they pay or not. Needs no torch."""

from penstock_worker.engine.draft_pace import DraftRecord


class FixedPace:
    """A `Pace` that follows no clock: the same requests are always drafted alike.

    Args:
        num_tokens: of every draft, where budget and blocks allow.
    """

    def __init__(self, num_tokens: int) -> None:
        self._num_tokens = num_tokens

    def allows_drafts(self, num_rows: int) -> bool:  # noqa: ARG002 whatever the step
        """Always."""
        return True

    def length(self, record: DraftRecord, num_rows: int) -> int:  # noqa: ARG002 whatever became of earlier ones
        """Always the same."""
        return self._num_tokens

    def judged(self, record: DraftRecord, num_drafted: int, num_accepted: int) -> None:
        """Learns nothing."""

    def drafted(self, num_tokens: int, duration_s: float) -> None:
        """Learns nothing."""

    def took(self, num_rows: int, duration_s: float) -> None:
        """Learns nothing."""

    def gave(self, num_rows: int, num_tokens: int, duration_s: float, *, has_drafts: bool) -> None:
        """Learns nothing."""
