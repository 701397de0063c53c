"""The cache service as a process of its own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import grpc

COMMAND = (sys.executable, "-m", "penstock_cache")


def environment(state_dir: Path, **variables: str) -> dict[str, str]:
    """This process's environment, told to listen on any port, to log JSON, and to load no encoder."""
    told = {
        "PENSTOCK_CACHE_BIND": "127.0.0.1:0",
        "PENSTOCK_CACHE_SEMANTIC": "0",
        "PENSTOCK_LOG_JSON": "1",
        "PENSTOCK_STATE_DIR": str(state_dir),
    }
    return os.environ | told | variables


class CacheProcess(NamedTuple):
    """The running service."""

    process: asyncio.subprocess.Process
    channel: grpc.aio.Channel
    address: str


@asynccontextmanager
async def running(variables: dict[str, str]) -> AsyncIterator[CacheProcess]:
    """The service, listening."""
    process = await asyncio.create_subprocess_exec(*COMMAND, env=variables, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        async for line in process.stderr:
            event = json.loads(line)
            if event["event"] == "listening":
                async with grpc.aio.insecure_channel(event["address"]) as channel:
                    yield CacheProcess(process, channel, event["address"])
                break
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
