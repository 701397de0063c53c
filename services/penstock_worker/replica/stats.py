"""The counters of a replica."""

from dataclasses import dataclass

from penstock_worker.replica.engine_loop import EngineLoop
from penstock_worker.replica.running import RunningSequences


@dataclass(frozen=True, slots=True)
class Stats:
    """The replica's counters; fields as in `worker.v1.GetStatsResponse`."""

    engine_step: int
    num_running: int
    num_waiting: int
    num_kv_blocks: int
    num_free_blocks: int
    num_sessions: int
    last_step_sequences: int
    num_finished: int
    num_cancelled: int
    num_preemptions: int
    num_generated_tokens: int
    last_cancel_arrived_step: int
    last_cancel_effective_step: int
    num_cached_blocks: int
    num_computed_tokens: int
    num_prefix_query_tokens: int
    num_prefix_hit_tokens: int
    num_evicted_blocks: int
    num_drafted_tokens: int
    num_accepted_tokens: int

    @classmethod
    def now(cls, engine: EngineLoop, sequences: RunningSequences, num_sessions: int) -> "Stats":
        """What the parts have counted so far."""
        stats, cancels = engine.stats, engine.cancel_steps
        return cls(
            engine_step=engine.engine_step,
            num_running=stats.num_running,
            num_waiting=stats.num_waiting,
            num_kv_blocks=stats.num_blocks,
            num_free_blocks=stats.num_free_blocks,
            num_sessions=num_sessions,
            last_step_sequences=engine.last_step_sequences,
            num_finished=sequences.num_finished,
            num_cancelled=sequences.num_cancelled,
            num_preemptions=stats.num_preemptions,
            num_generated_tokens=stats.num_generated_tokens,
            last_cancel_arrived_step=cancels.arrived,
            last_cancel_effective_step=cancels.effective,
            num_cached_blocks=stats.num_cached_blocks,
            num_computed_tokens=stats.num_computed_tokens,
            num_prefix_query_tokens=stats.num_prefix_query_tokens,
            num_prefix_hit_tokens=stats.num_prefix_hit_tokens,
            num_evicted_blocks=stats.num_evicted_blocks,
            num_drafted_tokens=stats.num_drafted_tokens,
            num_accepted_tokens=stats.num_accepted_tokens,
        )
