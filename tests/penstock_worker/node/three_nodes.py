"""Run in a network of its own: a head and three nodes with room for more than their share, one of which is killed.

Prints as one JSON line on which hosts the three replicas were, at first and after the node was gone, and what a replica
said that no node has room for. Takes the model's directory and an empty one.
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import psutil
from two_hosts import FLEET, START_TIMEOUT_S, start, start_head

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock_shared.channels import connect
from penstock_shared.directory import Directory, DirectoryWatcher, ReplicaInfo, ReplicaState

NODES = ("127.0.0.3", "127.0.0.4", "127.0.0.5")
NUM_REPLICAS = 3
NUM_CPUS = 4
_POLL_S = 0.1


class Fleet:
    """What is seen of it.

    Args:
        seen: every directory.
    """

    def __init__(self, seen: "asyncio.Queue[Directory]") -> None:
        self._seen = seen

    async def ready(self, num_replicas: int, gone: frozenset[int] = frozenset()) -> list[ReplicaInfo]:
        """So many replicas, when all of them serve and none is of those incarnations."""
        while True:
            directory = await asyncio.wait_for(self._seen.get(), START_TIMEOUT_S)
            replicas = list(directory.replicas)
            is_ready = [replica.state for replica in replicas] == [ReplicaState.READY] * num_replicas
            if is_ready and not gone & {replica.incarnation for replica in replicas}:
                return replicas

    async def lack(self) -> str:
        """What a replica that cannot be placed says, when it says it."""
        while True:
            directory = await asyncio.wait_for(self._seen.get(), START_TIMEOUT_S)
            for replica in directory.replicas:
                if replica.state is ReplicaState.PLACING and "needs" in replica.detail:
                    return replica.detail


def port_of(host: str) -> int:
    """The node's: they are one host here, where each port is there once."""
    return 6380 + NODES.index(host)


async def listening(host: str) -> None:
    """Waits until the node takes part."""
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, port_of(host))
            except OSError:
                await asyncio.sleep(_POLL_S)
            else:
                writer.close()
                return


def start_node(host: str, token: Path) -> "subprocess.Popen[bytes]":
    """A node with room for all replicas."""
    return start(
        "penstock_worker.node",
        PENSTOCK_NODE_ADVERTISE_HOST=host,
        PENSTOCK_NODE_HEAD="127.0.0.2:6379",
        PENSTOCK_NODE_NUM_CPUS=str(NUM_CPUS),
        PENSTOCK_NODE_PORT=str(port_of(host)),
        PENSTOCK_NODE_RAY_TOKEN_FILE=str(token),
    )


def kill(node: "subprocess.Popen[bytes]") -> None:
    """The whole machine, at once."""
    for process in [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]:
        process.kill()
    node.wait()


def hosts(replicas: list[ReplicaInfo]) -> list[str]:
    """Where they are."""
    return sorted(replica.address.rpartition(":")[0] for replica in replicas)


async def main(model_dir: Path, directory: Path) -> None:
    """Three nodes, then two, then a model that fits none."""
    token = directory / "token"
    token.write_text("t" * 32)
    head = start_head(model_dir, directory / "state", token)
    nodes = {}
    for host in NODES:  # one after the other: here they would find the same free ports
        nodes[host] = start_node(host, token)
        await listening(host)
    seen: asyncio.Queue[Directory] = asyncio.Queue()
    async with connect(FLEET, None) as channel:
        watching = asyncio.create_task(DirectoryWatcher(channel, on_change=seen.put_nowait).run())
        fleet, stub = Fleet(seen), fleet_pb2_grpc.FleetServiceStub(channel)
        await fleet.ready(1)
        await stub.Scale(fleet_pb2.ScaleRequest(model="tiny", num_replicas=NUM_REPLICAS))
        first = await fleet.ready(NUM_REPLICAS)
        lost = [replica for replica in first if replica.address.startswith(NODES[0])]
        kill(nodes[NODES[0]])
        second = await fleet.ready(NUM_REPLICAS, frozenset(replica.incarnation for replica in lost))
        wanted = fleet_pb2.WantedModel(name="large", model_dir=str(model_dir), replicas=1, threads=64)
        request = fleet_pb2.ApplyFleetRequest(spec=fleet_pb2.FleetSpec(models=[wanted]))
        await stub.ApplyFleet(request)
        lack = await fleet.lack()
        watching.cancel()
    head.kill()
    sys.stdout.write(json.dumps({"first": hosts(first), "second": hosts(second), "lack": lack}) + "\n")


if __name__ == "__main__":
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
