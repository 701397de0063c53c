"""A replica over loopback, with a tiny random checkpoint behind the real engine."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.running_replica import IDENTITY, RunningReplica
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from transformers import LlamaConfig, LlamaForCausalLM

from penstock_shared.tracing import Tracer
from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.replica.server import ReplicaServer

NUM_BLOCKS = 640
BLOCK_SIZE = 16
# float32; two layers, keys and values of two heads of eight.
BLOCK_BYTES = BLOCK_SIZE * 2 * 2 * 2 * 8 * 4


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights with room for long outputs."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=8192,
    )
    directory = tmp_path_factory.mktemp("llama")
    LlamaForCausalLM(config).save_pretrained(directory)
    return directory


@pytest.fixture
def engine(checkpoint: Path) -> Engine:
    """Eight sequences at once, 64 tokens a step."""
    config = EngineConfig(
        device="cpu",
        dtype="float32",
        kv_memory_bytes=NUM_BLOCKS * BLOCK_BYTES,
        max_running_sequences=8,
        max_step_tokens=64,
        block_size=BLOCK_SIZE,
        num_threads=1,
    )
    return build_engine(checkpoint, config)[0]


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """What the replica records."""
    return InMemorySpanExporter()


@pytest.fixture
async def start_replica(
    engine: Engine, spans: InMemorySpanExporter
) -> AsyncIterator[Callable[..., Awaitable[RunningReplica]]]:
    """Starts a replica, with arguments of `ReplicaServer` where a test needs other bounds."""
    async with AsyncExitStack() as stack:

        async def start(**bounds: Any) -> RunningReplica:
            tracer = Tracer("worker", exporter=spans)
            server = ReplicaServer(
                engine=engine, identity=IDENTITY, bind="127.0.0.1:0", tracer=tracer, credential=None, **bounds
            )
            port = await server.start()
            stack.push_async_callback(server.stop, 0.0)
            return RunningReplica(server, engine, port, tracer, stack)

        yield start
    engine.check_invariants()
    stats = engine.stats()
    assert (stats.num_running, stats.num_waiting, stats.num_free_blocks) == (0, 0, stats.num_blocks)


@pytest.fixture
async def replica(start_replica: Callable[..., Awaitable[RunningReplica]]) -> RunningReplica:
    """A replica with the usual bounds."""
    return await start_replica()
