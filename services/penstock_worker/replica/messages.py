"""What passes between gateway and replica, as plain values; `inbound.py` and `outbound.py` know the protos."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from penstock_shared.errors import PenstockError
from penstock_shared.tracing import TraceContext
from penstock_worker.engine.prefix_index import PrefixChange
from penstock_worker.engine.sequence import FinishReason, SequenceRequest, TokenLogprobs
from penstock_worker.replica.credit import Amount

# Raised with every field of a submission whose being ignored would give another answer: 2 has embeddings, adapters,
# constraints and prompt log probabilities.
CONTRACT_VERSION = 2


@dataclass(frozen=True, slots=True)
class SequenceRef:
    """One placement of one sequence: its id in the session and the attempt."""

    sequence_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Open:
    """A gateway introduces itself."""

    contract_version: int
    gateway_id: str
    tokenizer_fingerprint: str


@dataclass(frozen=True, slots=True)
class SubmittedSequence:
    """One sequence of a Submit.

    Attributes:
        ref: how the gateway names it.
        request: what the engine is to run.
        request_id: for logs and spans.
        deadline_ns: when it becomes pointless, in nanoseconds since the epoch.
        trace: the gateway's span.
        num_unwanted_logprobs: how many of the first output positions need no log probabilities.
        error: why it cannot run here, where it cannot.
    """

    ref: SequenceRef
    request: SequenceRequest
    request_id: str
    deadline_ns: int | None = None
    trace: TraceContext | None = None
    num_unwanted_logprobs: int = 0
    error: PenstockError | None = None


@dataclass(frozen=True, slots=True)
class Submit:
    """New work, spent under one credit epoch."""

    credit_epoch: int
    sequences: Sequence[SubmittedSequence]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Sequences to stop."""

    refs: Sequence[SequenceRef]


@dataclass(frozen=True, slots=True)
class Demand:
    """What waits in a gateway for this replica's model."""

    num_sequences: int = 0
    prefill_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ResendPrefixIndex:
    """The gateway wants a snapshot of the prefix index."""


Inbound = Open | Submit | Cancel | Demand | ResendPrefixIndex


@dataclass(frozen=True, slots=True)
class Limits:
    """Fixed limits of the replica."""

    max_running_sequences: int
    max_step_tokens: int
    context_length: int
    block_size: int
    num_kv_blocks: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this replica is. Two incarnations of one replica differ, even on one address."""

    replica_id: str
    incarnation: int
    model: str
    revision: str
    tokenizer_fingerprint: str
    numerics_fingerprint: str


@dataclass(frozen=True, slots=True)
class Credit:
    """A session's window, replacing that of the epoch before."""

    epoch: int
    amount: Amount


@dataclass(frozen=True, slots=True)
class PrefixSnapshot:
    """The blocks of the prefix index as of an event; or, as a continuation, more of them."""

    block_size: int
    event_number: int
    block_hashes: tuple[bytes, ...]
    is_continuation: bool


@dataclass(frozen=True, slots=True)
class PrefixEvents:
    """Changes of the prefix index; the first one is number `first_number`."""

    first_number: int
    changes: tuple[PrefixChange, ...]


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of a session. `prefix_index` is None where the replica keeps none."""

    identity: Identity
    limits: Limits
    credit: Credit
    prefix_index: PrefixSnapshot | None = None


class SubmitOutcome(enum.Enum):
    """Whether a submitted sequence will run."""

    ACCEPTED = "accepted"
    OVER_CREDIT = "over credit"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """What became of one submitted sequence; `error` where it was refused."""

    ref: SequenceRef
    outcome: SubmitOutcome
    error: PenstockError | None = None


@dataclass(frozen=True, slots=True)
class SubmitAck:
    """The answer to one Submit, or to several."""

    results: tuple[SubmitResult, ...]


@dataclass(frozen=True, slots=True)
class End:
    """The terminal event of a sequence."""

    reason: FinishReason
    stop_token_id: int | None = None
    error: PenstockError | None = None
    cached_prompt_tokens: int = 0
    num_preemptions: int = 0
    num_drafted_tokens: int = 0
    num_accepted_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """What one sequence got; `end` on its last one."""

    ref: SequenceRef
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] = ()
    end: End | None = None
    prompt_logprobs: tuple[TokenLogprobs, ...] = ()
    embedding: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """The outputs of engine steps up to `engine_step`, which took `duration_s`."""

    engine_step: int
    duration_s: float
    outputs: tuple[Output, ...]


class WorkerState(enum.Enum):
    """What the engine is doing."""

    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Proof of progress. `step_age_s` and `predicted_step_s` are of the step under way; None while there is none."""

    engine_step: int
    step_age_s: float | None
    predicted_step_s: float | None
    num_running: int
    num_waiting: int
    num_free_blocks: int
    state: WorkerState


@dataclass(frozen=True, slots=True)
class Draining:
    """No new work; what there is goes on until `finish_by_ns`, in nanoseconds since the epoch."""

    finish_by_ns: int


Outbound = Hello | SubmitAck | Step | Credit | Draining | Heartbeat | PrefixSnapshot | PrefixEvents
