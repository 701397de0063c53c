"""What an operator's settings mean for the engine, and for how many processes hold the model."""

from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.parallel.topology import Topology
from penstock_worker.settings import WorkerSettings


def topology_of(settings: WorkerSettings) -> Topology:
    """The processes of each replica."""
    return Topology(settings.tensor_parallel, settings.pipeline_parallel)


def engine_config(settings: WorkerSettings) -> EngineConfig:
    """What each process of a replica computes by."""
    return EngineConfig(
        device=settings.device,
        dtype=settings.dtype,
        quantize=settings.quantize,
        kv_memory_bytes=settings.kv_memory_bytes,
        max_running_sequences=settings.max_running_sequences,
        max_step_tokens=settings.max_step_tokens,
        block_size=settings.block_size,
        prefix_cache=settings.prefix_cache,
        speculate=settings.speculate,
        draft_tokens=settings.draft_tokens,
        deterministic=settings.deterministic,
        num_threads=settings.num_threads_per_shard,
    )
