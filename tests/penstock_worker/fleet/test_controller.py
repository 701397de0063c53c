"""The fleet over gRPC: what it serves, which replicas there are, at once and at every change."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from fakes.scripted_replica import GOOD, ScriptedReplica

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock_shared.channels import open_channel
from penstock_shared.credentials import FleetCredential
from penstock_shared.directory import Directory, ModelSpec, ReplicaState, directory_from_proto
from penstock_shared.tracing import Tracer
from penstock_worker.fleet.adapter_list import AdapterList
from penstock_worker.fleet.controller import FleetController
from penstock_worker.fleet.directory import FleetDirectory, VersionFile
from penstock_worker.replica.registration import LoadFailure

CREDENTIAL = FleetCredential("c" * 40)


class Fleet:
    """A running controller of two scripted replicas."""

    def __init__(self, spec: ModelSpec, state_file: Path) -> None:
        self.replicas = [ScriptedReplica(), ScriptedReplica()]
        self.controller = FleetController(
            spec=spec,
            directory=FleetDirectory(VersionFile(state_file, wall_clock=lambda: 0.0)),
            processes={f"tiny-{index}": replica for index, replica in enumerate(self.replicas)},
            model_dir=state_file.parent,
            adapters=AdapterList(state_file.with_name("adapters.json")),
            tracer=Tracer("fleet"),
            credential=CREDENTIAL,
        )
        self.address = ""

    async def start(self) -> None:
        """Listens."""
        self.address = f"127.0.0.1:{await self.controller.start('127.0.0.1:0')}"

    def channel(self, credential: FleetCredential | None = CREDENTIAL) -> grpc.aio.Channel:
        """To the fleet."""
        return open_channel(self.address, credential=credential, tracer=Tracer("test"))


@pytest.fixture
async def fleet(spec: ModelSpec, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Not started yet."""
    made = Fleet(spec, tmp_path / "fleet.json")
    yield made
    await made.controller.stop(0.0)


async def watch(fleet: Fleet, channel: grpc.aio.Channel) -> AsyncIterator[Directory]:
    """The directories that a gateway sees."""
    stub = fleet_pb2_grpc.FleetServiceStub(channel)
    async for response in stub.WatchReplicas(fleet_pb2.WatchReplicasRequest()):
        yield directory_from_proto(response.directory)


async def until(directories: AsyncIterator[Directory], wanted: list[ReplicaState]) -> Directory:
    """The first directory whose replicas are in these states."""
    async for directory in directories:
        if states(directory) == wanted:
            return directory
    raise AssertionError("the watch ended")


def states(directory: Directory) -> list[ReplicaState]:
    """Of all replicas, in order."""
    return [replica.state for replica in directory.replicas]


async def test_the_model_is_known_before_any_replica_is(fleet: Fleet, spec: ModelSpec) -> None:
    """Tokenizer and gateway get ready while the weights are read."""
    for replica in fleet.replicas:
        replica.is_placed.clear()
    await fleet.start()
    async with fleet.channel() as channel:
        directory = await anext(watch(fleet, channel))
    assert directory.models == (spec,)
    assert ReplicaState.READY not in states(directory)


async def test_a_watcher_sees_replicas_come_and_go(fleet: Fleet) -> None:
    """A gateway learns of a death and of the new address without asking; versions only grow."""
    await fleet.start()
    async with fleet.channel() as channel:
        directories = watch(fleet, channel)
        first = await until(directories, [ReplicaState.READY, ReplicaState.READY])
        fleet.replicas[0].is_placed.clear()
        fleet.replicas[0].die()
        gone = await until(directories, [ReplicaState.RESTARTING, ReplicaState.READY])
        fleet.replicas[0].is_placed.set()
        back = await until(directories, [ReplicaState.READY, ReplicaState.READY])
    assert first.version < gone.version < back.version
    assert [each.replicas[0].address for each in (first, gone, back)] == [GOOD.address, "", GOOD.address]
    assert [each.replicas[0].incarnation for each in (first, back)] == [1, 2]


async def test_get_fleet_tells_the_same(fleet: Fleet, spec: ModelSpec) -> None:
    """For operators, who ask once."""
    await fleet.start()
    assert await fleet.controller.wait_until_settled() is None
    async with fleet.channel() as channel:
        response = await fleet_pb2_grpc.FleetServiceStub(channel).GetFleet(fleet_pb2.GetFleetRequest())
    assert directory_from_proto(response.directory).models == (spec,)


async def test_a_fleet_without_any_replica_left_says_why(fleet: Fleet) -> None:
    """A checkpoint that no replica can load ends the start with its reason."""
    for replica in fleet.replicas:
        replica.loads = [LoadFailure("the weights are of another model")]
    await fleet.start()
    assert await fleet.controller.wait_until_settled() == "the weights are of another model"


async def test_one_failed_replica_does_not_stop_the_fleet(fleet: Fleet) -> None:
    """The other serves."""
    fleet.replicas[0].loads = [LoadFailure("no memory")]
    await fleet.start()
    assert await fleet.controller.wait_until_settled() is None


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("Scale", fleet_pb2.ScaleRequest(model="tiny", num_replicas=3)),
        ("Drain", fleet_pb2.DrainRequest(replica_id="tiny-0")),
    ],
)
async def test_what_the_fleet_cannot_do_yet_is_said(fleet: Fleet, method: str, request_message: object) -> None:
    """Not silence, and not a pretended success."""
    await fleet.start()
    async with fleet.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError, match=f"{method} is not available") as caught:
            await getattr(fleet_pb2_grpc.FleetServiceStub(channel), method)(request_message)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_strangers_learn_nothing(fleet: Fleet) -> None:
    """The directory holds the addresses of the inner services."""
    await fleet.start()
    async with fleet.channel(credential=None) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(watch(fleet, channel))
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
