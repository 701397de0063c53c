"""The processes of a run: echo, stubs and gateway. The CPU of each is counted by itself."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from penstock_shared.credentials import FleetCredential

_START_S = 30.0
_BENCH = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Peer:
    """A process under test."""

    address: str
    pid: int

    def cpu_s(self) -> float:
        """CPU time that it has used, threads and kernel included."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True, slots=True)
class Peers:
    """All of a run.

    Attributes:
        echo: the bare server.
        gateway: the real thing.
        worker_address: of the paced replica.
    """

    echo: Peer
    gateway: Peer
    worker_address: str


@asynccontextmanager
async def running_peers(state_dir: Path) -> AsyncIterator[Peers]:
    """Starts everything, and ends it however the block is left."""
    async with AsyncExitStack() as stack:
        stubs = await stack.enter_async_context(_running("gateway_bench.stubs"))
        addresses = json.loads(await _line_of(stubs))
        called = addresses["tokenizer"], addresses["cache"]
        echo = await stack.enter_async_context(_running("gateway_bench.echo", *called))
        echo_address = json.loads(await _line_of(echo))["address"]
        told = _gateway_environment(addresses, state_dir)
        gateway = await stack.enter_async_context(_running("penstock_gateway", **told))
        async with asyncio.timeout(_START_S):
            address = await _until_serving(gateway)
        for process in (stubs, echo, gateway):
            stack.callback(asyncio.ensure_future(_drain(process)).cancel)
        yield Peers(Peer(echo_address, echo.pid), Peer(address, gateway.pid), addresses["worker"])


def _gateway_environment(addresses: dict[str, str], state_dir: Path) -> dict[str, str]:
    credential = state_dir / "credential"
    FleetCredential.create(credential)
    return {
        "PENSTOCK_LOG_JSON": "1",
        "PENSTOCK_STATE_DIR": str(state_dir),
        "PENSTOCK_FLEET_CREDENTIAL_FILE": str(credential),
        "PENSTOCK_GATEWAY_BIND": "127.0.0.1:0",
        "PENSTOCK_GATEWAY_HTTP_BIND": "127.0.0.1:0",
        "PENSTOCK_GATEWAY_ADMIN_BIND": "127.0.0.1:0",
        "PENSTOCK_GATEWAY_FLEET_ADDRESS": addresses["fleet"],
        "PENSTOCK_GATEWAY_TOKENIZER_ADDRESS": addresses["tokenizer"],
        "PENSTOCK_GATEWAY_CACHE_ADDRESS": addresses["cache"],
    }


@asynccontextmanager
async def _running(module: str, *arguments: str, **environment: str) -> AsyncIterator[Process]:
    """A Python module as a process; its output, logs included, is one stream of lines."""
    path = os.pathsep.join([str(_BENCH), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        env=os.environ | {"PYTHONPATH": path} | environment,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


async def _line_of(process: Process) -> bytes:
    """The next line of JSON; gRPC's own log lines are none."""
    assert process.stdout is not None
    while not (line := await process.stdout.readline()).startswith(b"{"):
        if not line:
            raise RuntimeError("a process of the run has ended at its start")
    return line


async def _drain(process: Process) -> None:
    """Reads what nobody reads: a full pipe would stop the process."""
    assert process.stdout is not None
    async for _ in process.stdout:
        pass


async def _until_serving(gateway: Process, num_sessions: int = 3) -> str:
    """The gateway's address, when it has a session with every replica and says that it serves."""
    address, is_serving = "", False
    while not (address and is_serving and num_sessions <= 0):
        event = json.loads(await _line_of(gateway))
        address = event.get("address", address)
        is_serving |= event["event"] == "serving"
        num_sessions -= event["event"] == "session open"
    return address
