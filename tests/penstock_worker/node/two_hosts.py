"""Run in a network of its own, whose loopback addresses stand for hosts: a head, and one node after another.

All speak TLS with the certificates of PENSTOCK_INNER_TLS_*. Prints where the replica was found and answered each time,
one JSON line. Takes the model's directory and an empty one.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from penstock.worker.v1 import worker_pb2, worker_pb2_grpc
from penstock_shared.channels import connect
from penstock_shared.directory import Directory, DirectoryWatcher, ReplicaState
from penstock_shared.inner_tls import InnerTls, load_inner_tls
from penstock_shared.settings import ServiceSettings

HEAD, FLEET = "127.0.0.2:6379", "127.0.0.2:50054"
NODES = ("127.0.0.3", "127.0.0.4")
START_TIMEOUT_S = 90
# The fleet gives a replica up at once where its connection breaks, and after 3 s where it does not answer.
WATCHED_S = 4


def start(module: str, **variables: str) -> subprocess.Popen[bytes]:
    """A process of the worker; what it says goes to stderr."""
    command = [sys.executable, "-m", module]
    return subprocess.Popen(command, env=os.environ | variables, stdout=sys.stderr)


def start_head(model_dir: Path, state_dir: Path, token: Path) -> subprocess.Popen[bytes]:
    """The fleet, for one replica of one CPU."""
    return start(
        "penstock_worker",
        PENSTOCK_STATE_DIR=str(state_dir),
        PENSTOCK_WORKER_FLEET_BIND=FLEET,
        PENSTOCK_WORKER_MODEL_DIR=str(model_dir),
        PENSTOCK_WORKER_MODEL_NAME="tiny",
        PENSTOCK_WORKER_RAY_HEAD=HEAD,
        PENSTOCK_WORKER_RAY_TOKEN_FILE=str(token),
        PENSTOCK_WORKER_REPLICAS="1",
        PENSTOCK_WORKER_REPLICA_HOST="0.0.0.0",
        PENSTOCK_WORKER_THREADS_PER_REPLICA="1",
    )


def start_node(host: str, token: Path) -> subprocess.Popen[bytes]:
    """A node with room for one replica."""
    return start(
        "penstock_worker.node",
        PENSTOCK_NODE_ADVERTISE_HOST=host,
        PENSTOCK_NODE_HEAD=HEAD,
        PENSTOCK_NODE_NUM_CPUS="1",
        PENSTOCK_NODE_RAY_TOKEN_FILE=str(token),
    )


async def next_ready(seen: asyncio.Queue[Directory], incarnation: int) -> tuple[str, int]:
    """Address and incarnation of the replica, when it serves and is not the one of that incarnation."""
    while True:
        directory = await asyncio.wait_for(seen.get(), START_TIMEOUT_S)
        for replica in directory.replicas:
            if replica.state is ReplicaState.READY and replica.incarnation != incarnation:
                return replica.address, replica.incarnation


async def stays_ready(seen: asyncio.Queue[Directory]) -> None:
    """Raises where the fleet gives the replica up for no reason, as one that cannot speak to it would."""
    with suppress(TimeoutError):
        async with asyncio.timeout(WATCHED_S):
            while True:
                for replica in (await seen.get()).replicas:
                    if replica.state is not ReplicaState.READY:
                        raise RuntimeError(f"{replica.replica_id} was given up: {replica.state.name}")


async def ask(address: str, tls: InnerTls | None) -> None:
    """A call as gateways make them; raises where the replica does not answer."""
    async with connect(address, tls) as channel:
        stub = worker_pb2_grpc.WorkerServiceStub(channel)
        await stub.GetStats(worker_pb2.GetStatsRequest(), timeout=START_TIMEOUT_S)


async def main(model_dir: Path, directory: Path) -> None:
    """One node serves; it ends, and the next one takes its place."""
    token = directory / "token"
    token.write_text("t" * 32)
    head = start_head(model_dir, directory / "state", token)
    seen: asyncio.Queue[Directory] = asyncio.Queue()
    found, incarnation = [], 0
    tls = load_inner_tls(ServiceSettings())
    async with connect(FLEET, tls) as channel:
        watching = asyncio.create_task(DirectoryWatcher(channel, on_change=seen.put_nowait).run())
        for host in NODES:
            node = start_node(host, token)
            address, incarnation = await next_ready(seen, incarnation)
            await ask(address, tls)
            await stays_ready(seen)
            found.append(address)
            node.send_signal(signal.SIGTERM)
            await asyncio.to_thread(node.wait)
        watching.cancel()
    head.kill()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
