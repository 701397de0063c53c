"""What an engine tells of a step and of itself."""

from dataclasses import dataclass, field

from penstock_worker.engine.prefix_index import PrefixChange
from penstock_worker.engine.sequence import SequenceOutput


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step did.

    Attributes:
        step: number of the step, from 1.
        duration_s: wall time of the step.
        outputs: in order; a sequence still in its prefill has none, unless its prompt is scored.
        num_sequences: sequences that the step computed tokens of.
        prefix_changes: blocks that can be found again since this step, or no more, in order.
    """

    step: int
    duration_s: float
    outputs: list[SequenceOutput]
    num_sequences: int
    prefix_changes: list[PrefixChange] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Counters of an engine.

    Attributes:
        num_free_blocks: blocks that no sequence holds, cached ones included.
        num_cached_blocks: blocks that can be found by their tokens, held or free.
        num_computed_tokens: tokens whose keys and values steps computed; like all below it only grows.
        num_prefix_query_tokens: tokens that were looked for in the prefix cache when their sequences started.
        num_prefix_hit_tokens: those that were found.
        num_evicted_blocks: cached blocks that were handed out to be written anew.
        num_drafted_tokens: tokens that were guessed.
        num_accepted_tokens: those that were guessed rightly.
    """

    step: int
    num_running: int
    num_waiting: int
    num_blocks: int
    num_free_blocks: int
    num_preemptions: int
    num_generated_tokens: int
    num_cached_blocks: int = 0
    num_computed_tokens: int = 0
    num_prefix_query_tokens: int = 0
    num_prefix_hit_tokens: int = 0
    num_evicted_blocks: int = 0
    num_drafted_tokens: int = 0
    num_accepted_tokens: int = 0
