"""Tokenizer, cache, fleet and replicas that compute nothing, in one process beside the gateway's."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import grpc
import uvloop
from gateway_bench.stamps import NUM_STAMPS
from gateway_bench.worker import TOKENIZER_FINGERPRINT, StubWorker

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock.tokenizer.v1 import tokenizer_pb2, tokenizer_pb2_grpc
from penstock.worker.v1 import worker_pb2_grpc
from penstock_shared.directory import (
    Directory,
    ModelSpec,
    ReplicaInfo,
    ReplicaState,
    SamplingDefaults,
    directory_to_proto,
)
from penstock_shared.server import GrpcServer
from penstock_shared.tracing import Tracer

# Models by name, with the time between their steps in seconds.
PACES_S = {"paced": 0.02, "short": 0.01, "fast": 0.0}
_TOKENIZER = "penstock.tokenizer.v1.TokenizerService"
_CHUNK = 4096
_PROMPT = tokenizer_pb2.TokenSequence(ids=range(16))

Context = grpc.aio.ServicerContext[Any, Any]


class StubTokenizer(tokenizer_pb2_grpc.TokenizerServiceServicer):
    """Every text is sixteen tokens, and every token is a word."""

    async def Encode(  # noqa: N802 - gRPC's naming
        self, _request: tokenizer_pb2.EncodeRequest, _context: Context
    ) -> tokenizer_pb2.EncodeResponse:
        """Always the same."""
        return tokenizer_pb2.EncodeResponse(sequences=[_PROMPT], tokenizer_fingerprint=TOKENIZER_FINGERPRINT)

    async def GetVocabulary(  # type: ignore[override]  # noqa: N802 - gRPC's naming
        self, _request: tokenizer_pb2.GetVocabularyRequest, context: Context
    ) -> None:
        """A word for every stamp."""
        header = tokenizer_pb2.VocabularyHeader(tokenizer_fingerprint=TOKENIZER_FINGERPRINT, num_entries=NUM_STAMPS)
        chunk = [tokenizer_pb2.VocabularyEntry(bytes=b" word")] * _CHUNK
        for start in range(0, NUM_STAMPS, _CHUNK):
            response = tokenizer_pb2.GetVocabularyResponse(header=None if start else header, entries=chunk)
            await context.write(response)


class StubCache(cache_pb2_grpc.CacheServiceServicer):
    """Has nothing, and takes everything."""

    async def Lookup(  # noqa: N802 - gRPC's naming
        self, _request: cache_pb2.LookupRequest, _context: Context
    ) -> cache_pb2.LookupResponse:
        """A miss."""
        return cache_pb2.LookupResponse(outcome=cache_pb2.LOOKUP_OUTCOME_MISS, reason="a stub")

    async def Put(  # noqa: N802 - gRPC's naming
        self, _request: cache_pb2.PutRequest, _context: Context
    ) -> cache_pb2.PutResponse:
        """Forgotten at once."""
        return cache_pb2.PutResponse(is_stored=True)


class StubFleet(fleet_pb2_grpc.FleetServiceServicer):
    """One directory, for ever."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory_to_proto(directory)

    async def WatchReplicas(  # type: ignore[override]  # noqa: N802 - gRPC's naming
        self, _request: fleet_pb2.WatchReplicasRequest, context: Context
    ) -> None:
        """Once, and then nothing."""
        await context.write(fleet_pb2.WatchReplicasResponse(directory=self._directory))
        await asyncio.Event().wait()


def make_server(service_names: Sequence[str] = ()) -> GrpcServer:
    """As every inner service is served."""
    return GrpcServer(bind="127.0.0.1:0", service_names=service_names, tracer=Tracer("stub"))


async def start(server: GrpcServer) -> str:
    """Serves; returns the address."""
    port = await server.start()
    await server.set_serving(True)
    return f"127.0.0.1:{port}"


async def start_replica(server: GrpcServer, model: str, pace_s: float) -> ReplicaInfo:
    """One replica; returns its entry in the directory."""
    worker_pb2_grpc.add_WorkerServiceServicer_to_server(StubWorker(model, pace_s), server.server)
    return ReplicaInfo(model, model, ReplicaState.READY, await start(server), 1, "r", "none")


def spec_of(model: str) -> ModelSpec:
    """Greedy by default, so that every answer is determined and goes through the cache."""
    return ModelSpec(
        name=model,
        revision="r",
        tokenizer_fingerprint=TOKENIZER_FINGERPRINT,
        template_fingerprint="",
        context_length=1 << 20,
        eos_token_ids=(),
        sampling_defaults=SamplingDefaults(temperature=0.0),
        vocab_size=NUM_STAMPS,
        tokenizer_path="/nowhere",
    )


async def main() -> None:
    """Serves until killed; says where on its first line."""
    servers = [make_server() for _ in PACES_S]  # held: a server that nobody holds ends
    replicas = [await start_replica(server, *named) for server, named in zip(servers, PACES_S.items(), strict=True)]
    fleet, tokenizer, cache = make_server(), make_server([_TOKENIZER]), make_server()
    directory = Directory(1, tuple(map(spec_of, PACES_S)), tuple(replicas))
    fleet_pb2_grpc.add_FleetServiceServicer_to_server(StubFleet(directory), fleet.server)
    tokenizer_pb2_grpc.add_TokenizerServiceServicer_to_server(StubTokenizer(), tokenizer.server)
    cache_pb2_grpc.add_CacheServiceServicer_to_server(StubCache(), cache.server)
    addresses = {
        "fleet": await start(fleet),
        "tokenizer": await start(tokenizer),
        "cache": await start(cache),
        "worker": next(replica.address for replica in replicas if replica.model == "paced"),
    }
    print(json.dumps(addresses), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
