"""What a session may have at a worker, and what it has there: the gateway's side of `worker.v1.Credit`."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Credit:
    """An absolute grant; a new one replaces the old one."""

    epoch: int
    num_sequences: int
    prefill_tokens: int
    kv_blocks: int


@dataclass(slots=True)
class _Spent:
    prefill_tokens: int
    kv_blocks: int


class CreditLedger:
    """Counts sequences, prefill tokens and KV blocks from their submission until the worker says that they are free.

    Args:
        credit: the first grant.
        block_size: tokens of one KV block.
    """

    def __init__(self, credit: Credit, block_size: int) -> None:
        self.credit = credit
        self._block_size = block_size
        self._spent: dict[int, _Spent] = {}
        self._prefill_tokens = 0
        self._kv_blocks = 0

    def __repr__(self) -> str:
        credit = self.credit
        return (
            f"CreditLedger(epoch={credit.epoch}, sequences={len(self._spent)}/{credit.num_sequences},"
            f" prefill={self._prefill_tokens}/{credit.prefill_tokens}, blocks={self._kv_blocks}/{credit.kv_blocks})"
        )

    @property
    def num_sequences(self) -> int:
        """Sequences at the worker."""
        return len(self._spent)

    @property
    def load(self) -> float:
        """Share of the credit that is spent, by what is scarcest; above 1 where a grant has shrunk."""
        sequences = len(self._spent) / max(1, self.credit.num_sequences)
        return max(sequences, self._kv_blocks / max(1, self.credit.kv_blocks))

    def grant(self, credit: Credit) -> None:
        """Takes over a new grant."""
        self.credit = credit

    def fits(self, lengths: Sequence[int]) -> bool:
        """Whether sequences of these lengths (prompt and output so far, in tokens) can be submitted together."""
        return (
            len(self._spent) + len(lengths) <= self.credit.num_sequences
            and self._prefill_tokens + sum(lengths) <= self.credit.prefill_tokens
            and self._kv_blocks + sum(map(self._blocks, lengths)) <= self.credit.kv_blocks
        )

    def can_ever_fit(self, lengths: Sequence[int]) -> bool:
        """Whether they would fit if nothing else were there."""
        return (
            len(lengths) <= self.credit.num_sequences
            and sum(lengths) <= self.credit.prefill_tokens
            and sum(map(self._blocks, lengths)) <= self.credit.kv_blocks
        )

    def spend(self, sequence_id: int, num_tokens: int) -> None:
        """Counts a sequence that is being submitted with `num_tokens` of prompt and output so far."""
        assert sequence_id not in self._spent, f"sequence {sequence_id} is at this worker already"
        spent = self._spent[sequence_id] = _Spent(num_tokens, self._blocks(num_tokens))
        self._prefill_tokens += spent.prefill_tokens
        self._kv_blocks += spent.kv_blocks

    def end_prefill(self, sequence_id: int) -> bool:
        """Frees a sequence's prefill tokens: its first token came. False where they were free already."""
        spent = self._spent[sequence_id]
        freed, spent.prefill_tokens = spent.prefill_tokens, 0
        self._prefill_tokens -= freed
        return freed > 0

    def release(self, sequence_id: int) -> None:
        """Frees all of a sequence: its terminal output came, or it was not accepted."""
        spent = self._spent.pop(sequence_id)
        self._prefill_tokens -= spent.prefill_tokens
        self._kv_blocks -= spent.kv_blocks

    def check_invariants(self) -> None:
        """The sums are those of the sequences."""
        assert self._prefill_tokens == sum(spent.prefill_tokens for spent in self._spent.values())
        assert self._kv_blocks == sum(spent.kv_blocks for spent in self._spent.values())

    def _blocks(self, num_tokens: int) -> int:
        return -(-num_tokens // self._block_size) + 1
