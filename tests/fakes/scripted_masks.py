"""A mask source that says what a test tells it to."""

from collections.abc import Iterable, Sequence

from penstock_shared.constraint import Constraint
from penstock_shared.errors import PenstockError
from penstock_worker.constraints.wire import MaskState


class ScriptedMasks:
    """Passes for `ConstraintMasks`. Every mask is there at once and allows everything, unless told otherwise.

    Attributes:
        late: sequences whose masks do not come.
        allowed: tokens by sequence; all where it is not named.
        complete, failed: sequences whose grammar cannot go on, and why.
        told: what the engine has said, in order.
        num_waits: how often it waited for a mask.
    """

    def __init__(self) -> None:
        self.late: set[int] = set()
        self.allowed: dict[int, set[int]] = {}
        self.complete: set[int] = set()
        self.failed: dict[int, PenstockError] = {}
        self.told: list[tuple[str, int, list[int]]] = []
        self.num_waits = 0

    def open(self, key: int, constraint: Constraint, output_token_ids: list[int]) -> None:
        """Notes it."""
        self.told.append(("open", key, output_token_ids))

    def advance(self, key: int, token_ids: list[int], drafted: Sequence[int] = ()) -> None:
        """Notes it."""
        self.told.append(("advance", key, token_ids))

    def close(self, key: int) -> None:
        """Notes it."""
        self.told.append(("close", key, []))

    def state(self, key: int) -> MaskState:
        """As scripted."""
        if key in self.failed:
            return MaskState.FAILED
        if key in self.late:
            return MaskState.PENDING
        return MaskState.COMPLETE if key in self.complete else MaskState.READY

    def masks(self, key: int) -> bytes:
        """As scripted."""
        return mask_of(self.allowed[key]) if key in self.allowed else b"\xff" * 32

    def failure(self, key: int) -> PenstockError | None:
        """As scripted."""
        return self.failed.get(key)

    def poll(self, timeout_s: float) -> None:
        """Nothing comes by waiting."""
        self.num_waits += timeout_s > 0


def mask_of(token_ids: Iterable[int]) -> bytes:
    """The bits of a mask, lowest id first."""
    return sum(1 << token_id for token_id in token_ids).to_bytes(32, "little")
