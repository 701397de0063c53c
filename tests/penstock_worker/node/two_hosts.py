"""Run in a network of its own, whose loopback addresses stand for hosts: a head, and one node after another.

Prints where the replica was found each time, one JSON line. Takes the model's directory and an empty one.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc

from penstock_shared.directory import Directory, DirectoryWatcher, ReplicaState

HEAD, FLEET = "127.0.0.2:6379", "127.0.0.2:50054"
NODES = ("127.0.0.3", "127.0.0.4")
START_TIMEOUT_S = 90


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


async def main(model_dir: Path, directory: Path) -> None:
    """One node serves; it ends, and the next one takes its place."""
    token = directory / "token"
    token.write_text("t" * 32)
    head = start_head(model_dir, directory / "state", token)
    seen: asyncio.Queue[Directory] = asyncio.Queue()
    found, incarnation = [], 0
    async with grpc.aio.insecure_channel(FLEET) as channel:
        watching = asyncio.create_task(DirectoryWatcher(channel, on_change=seen.put_nowait).run())
        for host in NODES:
            node = start_node(host, token)
            address, incarnation = await next_ready(seen, incarnation)
            found.append(address)
            node.send_signal(signal.SIGTERM)
            await asyncio.to_thread(node.wait)
        watching.cancel()
    head.kill()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
