"""A replica is brought up in stages, comes back when it dies, and is given up when nothing can help."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from fakes.scripted_replica import GOOD, ScriptedReplica

from penstock_shared.directory import ModelSpec, ReplicaInfo, ReplicaState
from penstock_worker.fleet.supervisor import NotPreparedError, ReplicaDiedError, ReplicaProcess, ReplicaSupervisor
from penstock_worker.replica.registration import LoadFailure

PLACING, LOADING, READY = ReplicaState.PLACING, ReplicaState.LOADING, ReplicaState.READY
DRAINING, RESTARTING, FAILED = ReplicaState.DRAINING, ReplicaState.RESTARTING, ReplicaState.FAILED


class Supervised:
    """A supervisor, with what it published and how long it slept; each of `lacks` fails one preparation."""

    def __init__(self, spec: ModelSpec, replica: ScriptedReplica) -> None:
        self.lacks: list[str] = []
        self.published: asyncio.Queue[ReplicaInfo] = asyncio.Queue()
        self.slept_s: list[float] = []
        self.now_s = 0.0
        self.supervisor = ReplicaSupervisor(
            "tiny-0",
            spec,
            replica,
            publish=self.published.put_nowait,
            prepare=self._prepare,
            sleep=self._sleep,
            clock=lambda: self.now_s,
            look_s=0.01,
            placing_s=0.01,
        )
        self.task: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        """Runs it."""
        self.task = asyncio.create_task(self.supervisor.run())

    async def reach(self, state: ReplicaState) -> tuple[ReplicaInfo, list[ReplicaState]]:
        """The next replica published in `state`, and the states on the way to it."""
        states = []
        while True:
            info = await asyncio.wait_for(self.published.get(), 10)
            states.append(info.state)
            if info.state is state:
                return info, states

    async def _prepare(self, _: ReplicaProcess) -> None:
        if self.lacks:
            raise NotPreparedError(self.lacks.pop())

    async def _sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
async def supervised(spec: ModelSpec, scripted: ScriptedReplica) -> AsyncIterator[Supervised]:
    """Not started yet."""
    made = Supervised(spec, scripted)
    yield made
    made.task.cancel()
    await asyncio.gather(made.task, return_exceptions=True)


async def test_a_replica_comes_up_in_visible_stages(supervised: Supervised) -> None:
    """An operator sees what a start is waiting for; only a ready replica has an address."""
    supervised.start()
    info, states = await supervised.reach(READY)
    assert states == [PLACING, LOADING, READY]
    assert (info.address, info.pid, info.incarnation) == (GOOD.address, 1001, 1)
    assert (info.revision, info.numerics_fingerprint) == (GOOD.revision, GOOD.numerics_fingerprint)


async def test_replica_that_lacks_something_is_prepared_again_until_it_serves(supervised: Supervised) -> None:
    """No restart: what it has loaded stays; and an operator sees what it waits for, and when it is tried again."""
    supervised.lacks = ["adapter law: no memory", "adapter law: no memory"]
    supervised.start()
    info, states = await supervised.reach(READY)
    assert states == [PLACING, LOADING, LOADING, LOADING, LOADING, LOADING, READY]
    assert (supervised.slept_s, info.num_restarts, info.detail) == ([0.25, 0.5], 0, "")


async def test_waiting_for_resources_is_told(supervised: Supervised, scripted: ScriptedReplica) -> None:
    """A replica that cannot be placed is not 'loading'."""
    scripted.is_placed.clear()
    supervised.start()
    await supervised.reach(PLACING)
    scripted.lacks = "needs 2 CPU; free: a 1 of 4 CPU"
    info, _ = await supervised.reach(PLACING)
    assert info.detail == "needs 2 CPU; free: a 1 of 4 CPU"
    scripted.is_placed.set()
    info, _ = await supervised.reach(READY)
    assert info.detail == ""


async def test_loading_tells_how_far_it_is(supervised: Supervised, scripted: ScriptedReplica) -> None:
    """Large weights take minutes: an operator sees that it goes on, and each step once."""
    scripted.may_load.clear()
    scripted.progress_told = ["reading weights 10%", "reading weights 10%", "reading weights 90%"]
    supervised.start()
    details = []
    while (info := await asyncio.wait_for(supervised.published.get(), 10)).state is not READY:
        details.append(info.detail)
    assert [each for each in details if each != "done"] == ["", "", "reading weights 10%", "reading weights 90%"]


async def test_a_replica_that_dies_comes_back_as_another_incarnation(
    supervised: Supervised, scripted: ScriptedReplica
) -> None:
    """At once, without an address meanwhile, and counted."""
    supervised.start()
    await supervised.reach(READY)
    scripted.die()
    gone, _ = await supervised.reach(RESTARTING)
    assert (gone.address, gone.detail, gone.num_restarts) == ("", "process 1001 died", 1)
    back, states = await supervised.reach(READY)
    assert (states, back.incarnation, back.num_restarts) == ([LOADING, READY], 2, 1)
    assert supervised.slept_s == []


async def test_a_crash_loop_backs_off(supervised: Supervised, scripted: ScriptedReplica) -> None:
    """A replica that keeps dying must not eat the machine; and an operator sees that it does, and when it is tried."""
    scripted.loads = [ReplicaDiedError("killed while loading")] * 9
    supervised.start()
    info, _ = await supervised.reach(RESTARTING)
    assert info.detail == "process 1001 died; failure 1 in a row, tried again after 0.25 s"
    info, _ = await supervised.reach(READY)
    assert (info.num_restarts, info.detail) == (9, "")
    assert supervised.slept_s == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


async def test_replica_that_dies_soon_after_it_serves_backs_off_too(
    supervised: Supervised, scripted: ScriptedReplica
) -> None:
    """Its first death costs no time; a loop of them does. Who has served for a while is well again."""
    supervised.start()
    for _ in range(3):
        await supervised.reach(READY)
        supervised.now_s += 9
        scripted.die()
    await supervised.reach(READY)
    assert supervised.slept_s == [0.25, 0.5]
    supervised.now_s += 10
    scripted.die()
    await supervised.reach(READY)
    assert supervised.slept_s == [0.25, 0.5]


async def test_an_error_that_nobody_expected_starts_the_replica_over(
    supervised: Supervised, scripted: ScriptedReplica
) -> None:
    """A supervisor that ended without a word would leave its replica loading for ever."""
    scripted.loads = [RuntimeError("out of memory")] * 2
    supervised.start()
    gone, states = await supervised.reach(RESTARTING)
    assert states == [PLACING, LOADING, RESTARTING]
    assert gone.address == ""
    assert gone.detail.startswith("unexpected error: RuntimeError('out of memory'); failure 1 in a row")
    await supervised.reach(READY)
    assert supervised.slept_s == [0.25, 0.5]


@pytest.mark.parametrize(
    ("loaded", "reason"),
    [
        (LoadFailure("config.json architectures: got ['Bert']"), "Bert"),
        (replace(GOOD, revision="revision-2"), "revision-2"),
        (replace(GOOD, tokenizer_fingerprint="tokenizer-2"), "tokenizer-2"),
    ],
)
async def test_what_another_attempt_cannot_mend_has_failed(
    supervised: Supervised, scripted: ScriptedReplica, loaded: object, reason: str
) -> None:
    """It says why, frees its resources, and is not tried again; a replica of another model never takes work."""
    scripted.loads = [loaded]  # type: ignore[list-item]
    supervised.start()
    info, states = await supervised.reach(FAILED)
    await supervised.task
    assert states == [PLACING, LOADING, FAILED]
    assert reason in info.detail
    assert scripted.calls == ["load", "remove"]


async def test_stopping_drains_and_removes(supervised: Supervised, scripted: ScriptedReplica) -> None:
    """Work in progress gets its time."""
    supervised.start()
    await supervised.reach(READY)
    supervised.task.cancel()
    await supervised.supervisor.stop(7.0)
    info, _ = await supervised.reach(DRAINING)
    assert info.address == GOOD.address
    assert scripted.calls == ["load", "stop 7", "remove"]


async def test_a_replica_that_dies_while_draining_is_removed_all_the_same(
    supervised: Supervised, scripted: ScriptedReplica
) -> None:
    """A shutdown must end."""
    supervised.start()
    await supervised.reach(READY)
    supervised.task.cancel()
    scripted.die()
    await supervised.supervisor.stop(7.0)
    assert scripted.calls[-1] == "remove"
