"""The fleet over gRPC: what is wanted comes about, step by step, for all to see, and outlives the fleet's process."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes.scripted_replicas import ScriptedReplicas, write_checkpoint

from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock_shared.channels import open_channel
from penstock_shared.credentials import FleetCredential
from penstock_shared.directory import Directory, ReplicaState, directory_from_proto
from penstock_shared.tracing import Tracer
from penstock_worker.fleet.controller import FleetController
from penstock_worker.fleet.directory import FleetDirectory, VersionFile
from penstock_worker.fleet.server import FleetServer
from penstock_worker.fleet.spec import parse_spec
from penstock_worker.fleet.state_file import FleetState, StateFile

CREDENTIAL = FleetCredential("c" * 40)
READY = ReplicaState.READY
DRAINING, FAILED = ReplicaState.DRAINING, ReplicaState.FAILED


class Fleet:
    """A running controller over scripted replicas, and a client of it."""

    def __init__(self, state_dir: Path, replicas: ScriptedReplicas) -> None:
        self.replicas = replicas
        self.now_s = 0.0
        directory = FleetDirectory(VersionFile(state_dir / "fleet.json", wall_clock=lambda: 0.0))
        self.controller = FleetController(
            state_file=StateFile.within(state_dir),
            directory=directory,
            make_process=replicas.make,
            clock=lambda: self.now_s,
            stop_margin_s=0.2,
        )
        self.server = FleetServer(self.controller, directory, tracer=Tracer("fleet"), credential=CREDENTIAL)
        self.address = ""

    async def start(self) -> "Fleet":
        """Listens."""
        self.address = f"127.0.0.1:{await self.server.start('127.0.0.1:0')}"
        self.channel = self.open_channel()
        self.stub = fleet_pb2_grpc.FleetServiceStub(self.channel)
        return self

    async def die(self) -> None:
        """The process ends; its replicas live on."""
        assert self.server._run is not None
        assert self.server._server is not None
        self.server._run.cancel()
        for member in self.controller._members._members.values():
            for task in (member.run, member.end):
                if task is not None:
                    task.cancel()
        await self.server._server.server.stop(0)
        await self.channel.close()

    def open_channel(self, credential: FleetCredential | None = CREDENTIAL) -> grpc.aio.Channel:
        """To the fleet."""
        return open_channel(self.address, credential=credential, tracer=Tracer("test"))

    async def watch(self) -> AsyncIterator[Directory]:
        """The directories that a gateway sees."""
        async for response in self.stub.WatchReplicas(fleet_pb2.WatchReplicasRequest()):
            yield directory_from_proto(response.directory)

    async def until(self, condition: Callable[[Directory], bool]) -> Directory:
        """The first directory that satisfies it."""
        async for directory in self.watch():
            if condition(directory):
                return directory
        raise AssertionError("the watch ended")

    async def until_states(self, **states: ReplicaState) -> Directory:
        """The first directory with exactly these replicas in these states."""
        wanted = {name.replace("_", "-"): state for name, state in states.items()}
        return await self.until(lambda directory: states_of(directory) == wanted)

    async def progress(self) -> list[tuple[str, int, int, bool]]:
        """Model, wanted, ready, settled."""
        told = (await self.stub.GetFleet(fleet_pb2.GetFleetRequest())).progress
        return [(each.model, each.num_wanted, each.num_ready, each.is_settled) for each in told]


def states_of(directory: Directory) -> dict[str, ReplicaState]:
    """By replica."""
    return {replica.replica_id: replica.state for replica in directory.replicas}


@pytest.fixture
def checkpoints(tmp_path: Path) -> dict[str, Path]:
    """Two revisions."""
    return {name: write_checkpoint(tmp_path / name, weight) for weight, name in enumerate("ab")}


@pytest.fixture
async def fleets(tmp_path: Path, checkpoints: dict[str, Path]) -> AsyncIterator[Callable[[], Fleet]]:
    """Fleets one after another over one state directory, which wants two replicas of one model."""
    spec = parse_spec({"models": [{"name": "tiny", "model_dir": checkpoints["a"], "replicas": 2}]})
    StateFile.within(tmp_path).write(FleetState(spec=spec))
    replicas, made = ScriptedReplicas(), []

    def make() -> Fleet:
        made.append(Fleet(tmp_path, replicas))
        return made[-1]

    yield make
    for replica in replicas.by_id.values():
        replica.may_finish.set()
    await made[-1].server.stop(0.0)
    await made[-1].channel.close()


@pytest.fixture
async def fleet(fleets: Callable[[], Fleet]) -> Fleet:
    """The first one, not started yet."""
    return fleets()


async def test_the_model_is_known_before_any_replica_is(fleet: Fleet, checkpoints: dict[str, Path]) -> None:
    """Tokenizer and gateway get ready while the weights are read."""
    fleet.replicas.slow.add(checkpoints["a"])
    await fleet.start()
    directory = await anext(fleet.watch())
    assert [(spec.name, spec.tokenizer_path) for spec in directory.models] == [("tiny", str(checkpoints["a"]))]
    assert READY not in states_of(directory).values()


async def test_a_watcher_sees_replicas_come_and_go(fleet: Fleet) -> None:
    """A gateway learns of a death and of the new address without asking; versions only grow."""
    await fleet.start()
    first = await fleet.until_states(tiny_0=READY, tiny_1=READY)
    victim = fleet.replicas.by_id["tiny-0"]
    victim.is_placed.clear()
    victim.die()
    gone = await fleet.until_states(tiny_0=ReplicaState.RESTARTING, tiny_1=READY)
    victim.is_placed.set()
    back = await fleet.until_states(tiny_0=READY, tiny_1=READY)
    assert first.version < gone.version < back.version
    assert [bool(each.replicas[0].address) for each in (first, gone, back)] == [True, False, True]
    assert [each.replicas[0].incarnation for each in (first, back)] == [1, 2]


async def test_fleet_tells_what_is_wanted_and_how_far_that_is(fleet: Fleet) -> None:
    """For operators, who ask once."""
    await fleet.start()
    await fleet.until_states(tiny_0=READY, tiny_1=READY)
    told = await fleet.stub.GetFleet(fleet_pb2.GetFleetRequest())
    assert [(model.name, model.replicas) for model in told.spec.models] == [("tiny", 2)]
    assert await fleet.progress() == [("tiny", 2, 2, True)]


async def test_a_fleet_without_any_replica_left_says_why(fleet: Fleet, checkpoints: dict[str, Path]) -> None:
    """A checkpoint that no replica can load ends the start with its reason."""
    fleet.replicas.broken.add(checkpoints["a"])
    await fleet.start()
    assert await fleet.controller.wait_until_settled() == "the weights are of another model"
    told = await fleet.stub.GetFleet(fleet_pb2.GetFleetRequest())
    assert told.progress[0].problem == "tiny-0: the weights are of another model"


async def test_scaling_starts_and_drains_replicas(fleet: Fleet) -> None:
    """What a drained one works on is finished first."""
    await fleet.start()
    await fleet.stub.Scale(fleet_pb2.ScaleRequest(model="tiny", num_replicas=3))
    await fleet.until_states(tiny_0=READY, tiny_1=READY, tiny_2=READY)
    fleet.replicas.by_id["tiny-2"].may_finish.clear()
    await fleet.stub.Scale(fleet_pb2.ScaleRequest(model="tiny", num_replicas=1))
    await fleet.until_states(tiny_0=READY, tiny_2=DRAINING)
    assert await fleet.progress() == [("tiny", 1, 1, False)]
    fleet.replicas.by_id["tiny-2"].may_finish.set()
    await fleet.until_states(tiny_0=READY)
    assert await fleet.progress() == [("tiny", 1, 1, True)]
    assert fleet.replicas.living == ["tiny-0"]
    assert fleet.replicas.by_id["tiny-2"].calls == ["load", "stop 600", "remove"]


async def test_drained_replica_is_replaced_first(fleet: Fleet) -> None:
    """The number that serves does not fall; what it works on has the time that the operator gave."""
    await fleet.start()
    await fleet.until_states(tiny_0=READY, tiny_1=READY)
    request = fleet_pb2.DrainRequest(replica_id="tiny-0")
    request.limit.FromSeconds(7)
    await fleet.stub.Drain(request)
    await fleet.until_states(tiny_1=READY, tiny_2=READY)
    assert fleet.replicas.by_id["tiny-0"].calls == ["load", "stop 7", "remove"]


async def test_fleet_that_stops_leaves_no_replica_behind(fleet: Fleet) -> None:
    """Not even one that was draining, with ten minutes to go: on a cluster it would outlive its fleet."""
    await fleet.start()
    await fleet.until_states(tiny_0=READY, tiny_1=READY)
    fleet.replicas.by_id["tiny-1"].may_finish.clear()
    await fleet.stub.Scale(fleet_pb2.ScaleRequest(model="tiny", num_replicas=1))
    await fleet.until_states(tiny_0=READY, tiny_1=DRAINING)
    await fleet.server.stop(0.0)
    assert fleet.replicas.living == []


async def test_several_models_are_served_and_removed(fleet: Fleet, checkpoints: dict[str, Path]) -> None:
    """One file says it all; the same file again changes nothing."""
    await fleet.start()
    models = [
        fleet_pb2.WantedModel(name="tiny", model_dir=str(checkpoints["a"]), replicas=1),
        fleet_pb2.WantedModel(name="big", model_dir=str(checkpoints["b"]), replicas=1),
    ]
    apply = fleet_pb2.ApplyFleetRequest(spec=fleet_pb2.FleetSpec(models=models))
    await fleet.stub.ApplyFleet(apply)
    directory = await fleet.until_states(tiny_0=READY, big_0=READY)
    assert [spec.name for spec in directory.models] == ["tiny", "big"]
    assert (await fleet.stub.ApplyFleet(apply)).spec.models[1].max_replicas == 1024
    assert await fleet.progress() == [("tiny", 1, 1, True), ("big", 1, 1, True)]
    assert fleet.replicas.by_id["tiny-0"].calls == ["load"]
    await fleet.stub.ApplyFleet(fleet_pb2.ApplyFleetRequest(spec=fleet_pb2.FleetSpec(models=models[1:])))
    directory = await fleet.until_states(big_0=READY)
    assert [spec.name for spec in directory.models] == ["big"]


async def test_update_replaces_one_replica_after_another(fleet: Fleet, checkpoints: dict[str, Path]) -> None:
    """Both revisions are in the directory while both serve; the new one is first when all of it is there."""
    await fleet.start()
    first = await fleet.until_states(tiny_0=READY, tiny_1=READY)
    fleet.replicas.slow.add(checkpoints["b"])
    update = fleet_pb2.UpdateModelRequest(model="tiny", model_dir=str(checkpoints["b"]))
    answer = await fleet.stub.UpdateModel(update)
    during = await fleet.until_states(tiny_0=READY, tiny_1=READY, tiny_2=ReplicaState.PLACING)
    (old,), (new,) = during.models, during.other_revisions
    assert (old, new.spec.revision, new.takes_new_requests) == (first.models[0], answer.revision, True)
    fleet.replicas.slow.clear()
    fleet.replicas.by_id["tiny-2"].is_placed.set()
    last = await fleet.until(lambda directory: directory.models == (new.spec,))
    assert [(each.spec, each.takes_new_requests) for each in last.other_revisions] == [(old, False)]
    assert sorted(replica.revision for replica in last.replicas if replica.state is READY) == sorted(
        [old.revision, new.spec.revision, new.spec.revision]
    )
    fleet.now_s += 60
    await tell_demand(fleet, last.version, old.revision, 1)
    await tell_demand(fleet, last.version, new.spec.revision, 1)
    done = await fleet.until(lambda directory: directory.other_revisions == ())
    assert {replica.revision for replica in done.replicas} == {new.spec.revision}
    assert len(done.replicas) == 2


async def tell_demand(fleet: Fleet, version: int, revision: str, num_requests: int, num_waiting: int = 0) -> None:
    """A gateway has so many requests, all for one revision; the fleet looks at once."""
    demand = [
        fleet_pb2.RevisionDemand(model="tiny", revision=revision, num_requests=num_requests, num_waiting=num_waiting)
    ]
    report = fleet_pb2.ReportDemandRequest(gateway_id="g", directory_version=version, demand=demand)
    await fleet.stub.ReportDemand(report)
    fleet.controller.step()


async def test_update_that_cannot_load_leaves_the_old_ones_serving(fleet: Fleet, checkpoints: dict[str, Path]) -> None:
    """And says so; going back removes what failed."""
    await fleet.start()
    await fleet.until_states(tiny_0=READY, tiny_1=READY)
    fleet.replicas.broken.add(checkpoints["b"])
    await fleet.stub.UpdateModel(fleet_pb2.UpdateModelRequest(model="tiny", model_dir=str(checkpoints["b"])))
    await fleet.until_states(tiny_0=READY, tiny_1=READY, tiny_2=FAILED)
    told = await fleet.stub.GetFleet(fleet_pb2.GetFleetRequest())
    assert told.progress[0].problem == "tiny-2: the weights are of another model"
    await fleet.stub.UpdateModel(fleet_pb2.UpdateModelRequest(model="tiny", model_dir=str(checkpoints["a"])))
    directory = await fleet.until_states(tiny_0=READY, tiny_1=READY)
    assert directory.other_revisions == ()


async def test_restarted_fleet_finds_its_replicas_and_goes_on(
    fleets: Callable[[], Fleet], checkpoints: dict[str, Path]
) -> None:
    """Replicas live on; an update and a drain that were under way are finished, and nothing is loaded twice."""
    first = await fleets().start()
    await first.until_states(tiny_0=READY, tiny_1=READY)
    await first.stub.Scale(fleet_pb2.ScaleRequest(model="tiny", num_replicas=3))
    await first.until_states(tiny_0=READY, tiny_1=READY, tiny_2=READY)
    first.replicas.by_id["tiny-2"].may_finish.clear()
    await first.stub.Scale(fleet_pb2.ScaleRequest(model="tiny", num_replicas=2))
    await first.until_states(tiny_0=READY, tiny_1=READY, tiny_2=DRAINING)
    await first.die()
    second = await fleets().start()
    await second.until_states(tiny_0=READY, tiny_1=READY, tiny_2=DRAINING)
    second.replicas.by_id["tiny-2"].may_finish.set()
    await second.until_states(tiny_0=READY, tiny_1=READY)
    assert await second.progress() == [("tiny", 2, 2, True)]
    assert second.replicas.living == ["tiny-0", "tiny-1"]


async def test_load_decides_how_many_replicas_run(fleet: Fleet, checkpoints: dict[str, Path]) -> None:
    """From none, which the first request ends, to more, and back to none, where the fleet says that it can be woken."""
    await fleet.start()
    wanted = fleet_pb2.WantedModel(name="tiny", model_dir=str(checkpoints["a"]), min_replicas=0, autoscale={})
    apply = fleet_pb2.ApplyFleetRequest(spec=fleet_pb2.FleetSpec(models=[wanted]))
    await fleet.stub.ApplyFleet(apply)
    assert (await fleet.progress())[0][:2] == ("tiny", 2)
    await fleet.stub.Scale(fleet_pb2.ScaleRequest(model="tiny", num_replicas=0))
    asleep = await fleet.until(lambda directory: directory.asleep == ("tiny",) and not directory.replicas)
    revision = asleep.models[0].revision
    await tell_demand(fleet, asleep.version, revision, num_requests=1, num_waiting=1)
    await fleet.until(lambda directory: states_of(directory) == {"tiny-0": READY} and directory.asleep == ())
    for _ in range(5):
        fleet.now_s += 1
        await tell_demand(fleet, asleep.version, revision, num_requests=40, num_waiting=40)
    await fleet.until_states(tiny_0=READY, tiny_1=READY)
    await fleet.stub.ApplyFleet(apply)
    assert await fleet.progress() == [("tiny", 2, 2, True)]
    for _ in range(2):
        fleet.now_s += 301
        await tell_demand(fleet, asleep.version, revision, num_requests=0)
    await fleet.until(lambda directory: directory.asleep == ("tiny",) and not directory.replicas)
    assert fleet.replicas.by_id["tiny-0"].calls == ["load", "stop 600", "remove"]


async def test_model_that_operators_scale_is_left_alone_by_the_load(fleet: Fleet) -> None:
    """They said how many."""
    await fleet.start()
    directory = await fleet.until_states(tiny_0=READY, tiny_1=READY)
    for _ in range(5):
        fleet.now_s += 1
        await tell_demand(fleet, directory.version, directory.models[0].revision, num_requests=900, num_waiting=900)
    assert await fleet.progress() == [("tiny", 2, 2, True)]
    await fleet.stub.Scale(fleet_pb2.ScaleRequest(model="tiny", num_replicas=0))
    empty = await fleet.until(lambda directory: not directory.replicas)
    assert empty.asleep == ()


@pytest.mark.parametrize(
    ("method", "request_message", "code", "message"),
    [
        ("Scale", fleet_pb2.ScaleRequest(model="huge", num_replicas=1), "NOT_FOUND", "no model 'huge'; there is: tiny"),
        (
            "Scale",
            fleet_pb2.ScaleRequest(model="tiny", num_replicas=2000),
            "INVALID_ARGUMENT",
            "num_replicas: got 2000; allowed: 0 to 1024",
        ),
        ("Drain", fleet_pb2.DrainRequest(replica_id="tiny-9"), "NOT_FOUND", "no replica 'tiny-9'"),
        ("Drain", fleet_pb2.DrainRequest(replica_id="tiny-0", limit={}), "INVALID_ARGUMENT", "limit: got '0 s'"),
        (
            "UpdateModel",
            fleet_pb2.UpdateModelRequest(model="tiny", model_dir="/nowhere"),
            "INVALID_ARGUMENT",
            r"request\.model_dir: got '/nowhere'",
        ),
        (
            "ApplyFleet",
            fleet_pb2.ApplyFleetRequest(spec={"models": [{"name": "tiny", "model_dir": "/a", "quantize": "int2"}]}),
            "INVALID_ARGUMENT",
            r"models\[0\]\.quantize: got 'int2'; allowed: 'none', 'int8' or 'int4'",
        ),
    ],
)
async def test_what_cannot_be_wanted_is_refused(
    fleet: Fleet, method: str, request_message: Any, code: str, message: str
) -> None:
    """With the field, what it held, and what is allowed; and nothing changes."""
    await fleet.start()
    await fleet.until_states(tiny_0=READY, tiny_1=READY)
    with pytest.raises(grpc.aio.AioRpcError, match=message) as caught:
        await getattr(fleet.stub, method)(request_message)
    assert caught.value.code().name == code
    assert await fleet.progress() == [("tiny", 2, 2, True)]


async def test_strangers_learn_nothing(fleet: Fleet) -> None:
    """The directory holds the addresses of the inner services."""
    await fleet.start()
    async with fleet.open_channel(credential=None) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await fleet_pb2_grpc.FleetServiceStub(channel).GetFleet(fleet_pb2.GetFleetRequest())
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
