"""Which replica a request goes to, and why.

One score weighs what a replica has computed of the prompt already against its load. Load is counted at dispatch,
so a burst of requests with a common beginning does not pile up on the one replica that has it: with each of them that
goes there the score falls, and the next that goes elsewhere makes the beginning known there too. Rules that switch
between the two by thresholds either pile up or forget what is cached.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from penstock_gateway.dispatch.credit import CreditLedger
from penstock_gateway.dispatch.prompt_names import PromptNames

# A prompt that is found whole is worth this much more load, as a share of the credit.
_LOAD_PER_PROMPT = 0.125
# A shorter prompt is worth less, for there is less to save.
_FULL_WORTH_TOKENS = 512


class Replica(Protocol):
    """What the balancer looks at."""

    @property
    def replica_id(self) -> str:
        """Its name in the directory."""

    @property
    def num_dispatched(self) -> int:
        """Sequences that it has been given in all."""

    @property
    def ledger(self) -> CreditLedger:
        """What it has been given, counted at dispatch."""

    def num_found_tokens(self, prompt: PromptNames) -> int:
        """How many of a prompt's first tokens it has computed already."""


ReplicaT = TypeVar("ReplicaT", bound=Replica)


@dataclass(frozen=True, slots=True)
class Selection(Generic[ReplicaT]):
    """A replica with room, how many of the sequences it takes now, and the reason in a few words."""

    replica: ReplicaT
    num_sequences: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Candidate(Generic[ReplicaT]):
    """A replica with room, and its share of the score's two sides."""

    replica: ReplicaT
    load: float
    num_found_tokens: int
    num_prompt_tokens: int

    @property
    def rank(self) -> tuple[float, int, str]:
        """Lower is better. Equal scores, those of idle replicas above all, take turns."""
        worth = self.num_found_tokens / max(self.num_prompt_tokens, _FULL_WORTH_TOKENS)
        return self.load - _LOAD_PER_PROMPT * worth, self.replica.num_dispatched, self.replica.replica_id


def select(replicas: Sequence[ReplicaT], lengths: Sequence[int], prompt: PromptNames) -> Selection[ReplicaT] | None:
    """The best replica with credit for all the sequences; None where they must wait.

    Sequences that would not fit together into any replica's whole credit are sent in parts, as they fit.

    Args:
        replicas: those that take work for the model.
        lengths: prompt and output so far of each sequence of a request, in tokens.
        prompt: which they share.
    """
    candidates = [
        _Candidate(replica, replica.ledger.load, replica.num_found_tokens(prompt), prompt.num_tokens)
        for replica in replicas
        if replica.ledger.fits(lengths)
    ]
    if candidates:
        best, *others = sorted(candidates, key=lambda candidate: candidate.rank)
        return Selection(best.replica, len(lengths), _reason(best, others, num_replicas=len(replicas)))
    if any(replica.ledger.can_ever_fit(lengths) for replica in replicas):
        return None
    return _select_for_a_part(replicas, lengths)


def _select_for_a_part(replicas: Sequence[ReplicaT], lengths: Sequence[int]) -> Selection[ReplicaT] | None:
    most = max(replicas, key=lambda replica: (_num_fitting(replica, lengths), -replica.ledger.load), default=None)
    if most is None or (num_fitting := _num_fitting(most, lengths)) == 0:
        return None
    return Selection(most, num_fitting, f"most credit: {num_fitting} of {len(lengths)} sequences")


def _num_fitting(replica: Replica, lengths: Sequence[int]) -> int:
    return next((count for count in range(len(lengths), 0, -1) if replica.ledger.fits(lengths[:count])), 0)


def _reason(best: _Candidate[ReplicaT], others: Sequence[_Candidate[ReplicaT]], *, num_replicas: int) -> str:
    """What decided, the loads, and what was found where that is not what decided."""
    prefix = f"prefix {best.num_found_tokens} of {best.num_prompt_tokens} tokens"
    if others:
        least = min(candidate.load for candidate in others)
        if best.load > least:
            return f"{prefix}: {best.load:.2f} vs {least:.2f}"
        why = f"least loaded: {best.load:.2f} vs {least:.2f}"
    else:
        why = f"only replica{' with credit' if num_replicas > 1 else ''}: {best.load:.2f}"
    return f"{why}, {prefix}" if best.num_found_tokens else why
