"""Credit: how much work each session may have at this replica at one time, and how sessions share it.

A session is granted absolute windows (`worker.v1.Credit`). What it uses cannot be taken back, so the apportioning
shares out what nobody uses: first to those who have work waiting, the least provided for first, then, as headroom for
bursts, to everybody.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from penstock_worker.engine.validation import EngineLimits

_QUEUED_STEPS = 2
_WAITING_SHARE = 8
_MIN_WAITING = 2


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount of work in the three currencies of credit."""

    num_sequences: int = 0
    prefill_tokens: int = 0
    kv_blocks: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            self.num_sequences + other.num_sequences,
            self.prefill_tokens + other.prefill_tokens,
            self.kv_blocks + other.kv_blocks,
        )

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(
            self.num_sequences - other.num_sequences,
            self.prefill_tokens - other.prefill_tokens,
            self.kv_blocks - other.kv_blocks,
        )

    def fits(self, bound: "Amount") -> bool:
        """Whether no currency exceeds `bound`."""
        return (
            self.num_sequences <= bound.num_sequences
            and self.prefill_tokens <= bound.prefill_tokens
            and self.kv_blocks <= bound.kv_blocks
        )


NOTHING = Amount()


@dataclass(frozen=True, slots=True)
class Claim:
    """What one session has here and what it has waiting, in one currency."""

    in_use: int
    waiting: int


@dataclass(frozen=True, slots=True)
class CreditBudget:
    """What there is to grant.

    Attributes:
        total: over all sessions.
        floor: what every session gets whatever the others use, so that any sequence the engine can run at all can be
            submitted by an otherwise idle session. Floors may overcommit the total; the engine's queue bears that.
        block_size: tokens of a KV block.
    """

    total: Amount
    floor: Amount
    block_size: int

    @classmethod
    def for_engine(cls, limits: EngineLimits) -> "CreditBudget":
        """The budget that keeps the engine's own queue short.

        Enough for every running slot and a few sequences more, and for the step under way and the next; everything
        else waits in the gateways, where it can still be reordered.
        """
        longest_blocks = min(math.ceil(limits.context_length / limits.block_size), limits.num_blocks) + 1
        longest = Amount(1, limits.context_length, longest_blocks)
        total = Amount(
            limits.max_running_sequences + max(_MIN_WAITING, limits.max_running_sequences // _WAITING_SHARE),
            max(_QUEUED_STEPS * limits.max_step_tokens, longest.prefill_tokens),
            max(limits.num_blocks, longest.kv_blocks),
        )
        return cls(total, longest, limits.block_size)

    def charge(self, num_tokens: int) -> Amount:
        """What a sequence of `num_tokens` (prompt and output at submit) counts."""
        return Amount(1, num_tokens, math.ceil(num_tokens / self.block_size) + 1)

    def waiting(self, num_sequences: int, prefill_tokens: int) -> Amount:
        """A gateway's demand in all currencies."""
        blocks = math.ceil(prefill_tokens / self.block_size) + 2 * num_sequences
        return Amount(num_sequences, prefill_tokens, blocks)

    def apportion(self, in_use: Sequence[Amount], waiting: Sequence[Amount]) -> list[Amount]:
        """The windows of all sessions; the arguments are in the same order, one entry a session."""
        currencies = [
            apportion(
                getattr(self.total, name),
                getattr(self.floor, name),
                [Claim(getattr(u, name), getattr(w, name)) for u, w in zip(in_use, waiting, strict=True)],
            )
            for name in ("num_sequences", "prefill_tokens", "kv_blocks")
        ]
        return [Amount(*window) for window in zip(*currencies, strict=True)]


def apportion(total: int, floor: int, claims: Sequence[Claim]) -> list[int]:
    """Shares `total` out by max-min fairness.

    Nobody gets less than what it uses or than `floor`. A claim is left wanting only where everybody with more merely
    keeps what it uses already.
    """
    grants = [claim.in_use for claim in claims]
    free = total - sum(grants)
    free = _raise_lowest(grants, [claim.in_use + claim.waiting for claim in claims], free)
    _raise_lowest(grants, [total] * len(claims), free)
    return [max(grant, floor) for grant in grants]


def _raise_lowest(grants: list[int], caps: Sequence[int], free: int) -> int:
    """Raises the lowest of `grants` together, none above its cap, until `free` is spent; returns what is left."""
    while free > 0:
        below_cap = [i for i, cap in enumerate(caps) if grants[i] < cap]
        if not below_cap:
            break
        level = min(grants[i] for i in below_cap)
        lowest = [i for i in below_cap if grants[i] == level]
        ceiling = min([caps[i] for i in lowest] + [grants[i] for i in below_cap if grants[i] > level])
        rise = min(ceiling - level, free // len(lowest))
        for i in lowest if rise else lowest[:free]:
            grants[i] += max(rise, 1)
            free -= max(rise, 1)
    return free
