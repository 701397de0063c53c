"""The cache service in a process of its own, over loopback gRPC."""

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import grpc

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc

Stub = cache_pb2_grpc.CacheServiceStub

# The reason of a service that is going to have a semantic layer.
_LOADING = "the encoder is being loaded"
_PAUSE_S = 0.1


@asynccontextmanager
async def running_cache(state_dir: str, settings: Mapping[str, str]) -> AsyncIterator[tuple[Stub, int]]:
    """The service's stub and its process id; where it is to answer by meaning, once its encoder is loaded.

    Args:
        state_dir: where it keeps what it has.
        settings: further ones, `PENSTOCK_CACHE_SEMANTIC` and so on.
    """
    told = {"PENSTOCK_CACHE_BIND": "127.0.0.1:0", "PENSTOCK_LOG_JSON": "1", "PENSTOCK_STATE_DIR": state_dir}
    command = (sys.executable, "-m", "penstock_cache")
    environment = os.environ | told | settings
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        event = json.loads(await process.stderr.readline())
        async with grpc.aio.insecure_channel(event["address"]) as channel:
            stub = Stub(channel)
            await _until_loaded(stub)
            yield stub, process.pid
    finally:
        process.terminate()
        await process.wait()


async def _until_loaded(stub: Stub) -> None:
    """Without an encoder to load this is one miss."""
    prompt = "warm"
    key = cache_pb2.CacheKey(
        tenant="warm",
        exact_digest=hashlib.sha256(prompt.encode()).digest(),
        context_digest=bytes(32),
        prompt=prompt,
        model="m",
    )
    request = cache_pb2.LookupRequest(key=key, max_error_rate=0.1)
    while (await stub.Lookup(request)).reason == _LOADING:  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(_PAUSE_S)
