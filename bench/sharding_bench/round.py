"""What one round found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoundResult:
    """Of one contestant.

    Attributes:
        tokens_per_s: output tokens by all time, prefill included.
        step_ms: median of the steps that only decode.
        reduce_ms: all-reduces of such a step, waiting for the others included.
        plan_ms: to hand such a step's plan over.
        waiting_share: of all steps' time, in which the last stage waits for the one below.
    """

    tokens_per_s: float
    step_ms: float
    reduce_ms: float
    plan_ms: float
    waiting_share: float
