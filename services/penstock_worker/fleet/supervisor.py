"""Keeps one replica running: places it, has it load, checks what it loaded, and starts over when it dies."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from penstock_shared.directory import AdapterSpec, ModelSpec, ReplicaInfo, ReplicaState
from penstock_shared.logs import get_logger
from penstock_worker.fleet.back_off import BackOff
from penstock_worker.replica.registration import LoadFailure, ProcessInfo, Registration

# Then it is told what a stage waits for, and again each time.
_LOOK_S = 1.0
_PLACING_S = 3.0
# An error that Ray hands over holds the whole traceback.
_MAX_DETAIL_CHARS = 500

T = TypeVar("T")


class ReplicaDiedError(Exception):
    """The replica's process ended: expected, it is started again."""


class NotPreparedError(Exception):
    """A replica that has loaded lacks something yet: expected, it is tried again."""


class ReplicaProcess(Protocol):
    """One replica's leader, wherever it runs. Every method but `place` raises ReplicaDiedError when it is gone."""

    async def place(self) -> None:
        """Waits for resources and makes sure that the leader is being started."""

    async def lack(self) -> str:
        """What `place` waits for; may be asked meanwhile."""

    async def process(self) -> ProcessInfo:
        """Waits for the leader's process."""

    async def progress(self) -> str:
        """What `load` is doing; may be asked meanwhile."""

    async def load(self) -> Registration | LoadFailure:
        """Has it load and serve; returns when it serves."""

    async def load_adapter(self, spec: AdapterSpec, path: Path) -> LoadFailure | None:
        """Has it load an adapter; returns when requests can name it, or why they cannot."""

    async def unload_adapter(self, name: str) -> None:
        """Has it refuse an adapter to new requests; nothing, where it has none of that name."""

    async def wait_for_death(self) -> None:
        """Raises ReplicaDiedError, within milliseconds, when the process ends."""

    async def find(self) -> bool:
        """Looks for the leader, and starts none. True where there is one."""

    async def stop(self, limit_s: float) -> None:
        """Lets it finish its work for `limit_s` seconds."""

    async def remove(self) -> None:
        """Ends it for good and frees its resources."""


class ReplicaSupervisor:
    """Follows one replica through its life and publishes each stage.

    Args:
        replica_id: names it.
        spec: what it must serve.
        process: the replica.
        publish: told of every stage.
        prepare: brings a replica that has loaded to what it needs besides before it serves. Raises NotPreparedError
            where that has to be tried again.
        sleep: waits a number of seconds.
        clock: monotonic seconds.
        look_s: how often it is looked how a stage goes on.
        placing_s: a replica that has not been placed by then says what it lacks.
    """

    def __init__(
        self,
        replica_id: str,
        spec: ModelSpec,
        process: ReplicaProcess,
        *,
        publish: Callable[[ReplicaInfo], None],
        prepare: Callable[[ReplicaProcess], Awaitable[None]] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        look_s: float = _LOOK_S,
        placing_s: float = _PLACING_S,
    ) -> None:
        self._spec = spec
        self._process = process
        self._publish = publish
        self._prepare = prepare
        self._sleep = sleep
        self._back_off = BackOff(clock)
        self._look_s = look_s
        self._placing_s = placing_s
        self._log = get_logger("fleet")
        self._is_told = False
        self._info = ReplicaInfo(
            replica_id=replica_id,
            model=spec.name,
            state=ReplicaState.PLACING,
            address="",
            incarnation=0,
            revision="",
            numerics_fingerprint="",
        )

    @property
    def process(self) -> ReplicaProcess:
        """The replica."""
        return self._process

    @property
    def info(self) -> ReplicaInfo:
        """The replica as last published."""
        return self._info

    async def run(self) -> None:
        """Keeps the replica running until cancelled, or until it cannot run at all: then it is FAILED."""
        self._enter(ReplicaState.PLACING)
        while True:
            try:
                if not await self._bring_up():
                    return
                self._back_off.serves()
                await self._process.wait_for_death()
            except ReplicaDiedError as error:
                self._log.warning("replica died", replica=self._info.replica_id, reason=str(error))
                await self._start_over(ReplicaState.RESTARTING, f"process {self._info.pid} died")
            except NotPreparedError as error:
                self._log.warning("replica does not serve yet", replica=self._info.replica_id, reason=str(error))
                await self._start_over(ReplicaState.LOADING, str(error))
            except Exception as error:  # noqa: BLE001 - the boundary: unseen, it would leave the replica as it is for ever
                self._log.exception("supervision failed", replica=self._info.replica_id)
                await self._start_over(ReplicaState.RESTARTING, f"unexpected error: {error!r}")

    async def stop(self, limit_s: float) -> None:
        """Lets it finish its work, then ends it for good. To be called when `run` has been cancelled."""
        if self._info.state is ReplicaState.READY:
            await self._drain(limit_s)
        await self._process.remove()

    async def stop_found(self, limit_s: float) -> None:
        """As `stop`, for one that another fleet had begun to stop."""
        if await self._process.find():
            await self._drain(limit_s)
        await self._process.remove()

    async def _drain(self, limit_s: float) -> None:
        self._enter(ReplicaState.DRAINING)
        try:
            await self._process.stop(limit_s)
        except ReplicaDiedError:
            self._log.info("replica died while draining", replica=self._info.replica_id)

    async def _bring_up(self) -> bool:
        """Through the stages to READY; False where it ends in FAILED."""
        await self._place()
        process = await self._process.process()
        self._info = replace(self._info, pid=process.pid, incarnation=process.incarnation)
        self._enter(ReplicaState.LOADING)
        loaded = await self._load()
        flaw = loaded.message if isinstance(loaded, LoadFailure) else self._mismatch(loaded)
        if isinstance(loaded, LoadFailure) or flaw is not None:
            self._enter(ReplicaState.FAILED, detail=flaw or "")
            await self._process.remove()
            return False
        if self._prepare is not None:
            await self._prepare(self._process)
        self._register(loaded)
        return True

    async def _start_over(self, state: ReplicaState, why: str) -> None:
        """Publishes what went wrong, and lets it pass."""
        pause_s = self._back_off.failed()
        detail = why[:_MAX_DETAIL_CHARS]
        if pause_s:
            detail += f"; failure {self._back_off.num_failures} in a row, tried again after {pause_s:g} s"
        self._enter(state, detail=detail, restarts=int(state is ReplicaState.RESTARTING))
        if pause_s:
            await self._sleep(pause_s)

    async def _place(self) -> None:
        """Waits for resources; after a while, and for as long as it takes, it is told what lacks."""
        async with _running(self._process.place()) as placing:
            while not await _is_done(placing, self._placing_s):
                self._enter(ReplicaState.PLACING, detail=await self._process.lack())
            placing.result()

    async def _load(self) -> Registration | LoadFailure:
        """Waits until it has loaded, and tells what it is doing meanwhile."""
        async with _running(self._process.load()) as loading:
            while not await _is_done(loading, self._look_s):
                self._enter(ReplicaState.LOADING, detail=await self._process.progress())
            return loading.result()

    def _mismatch(self, registration: Registration) -> str | None:
        """Why a replica must not serve this model, where it must not."""
        spec = self._spec
        if registration.revision != spec.revision:
            return f"loaded revision {registration.revision}, the fleet serves {spec.revision}"
        if registration.tokenizer_fingerprint != spec.tokenizer_fingerprint:
            return f"has tokenizer {registration.tokenizer_fingerprint}, the fleet serves {spec.tokenizer_fingerprint}"
        return None

    def _register(self, registration: Registration) -> None:
        self._info = replace(
            self._info,
            address=registration.address,
            revision=registration.revision,
            numerics_fingerprint=registration.numerics_fingerprint,
        )
        self._enter(ReplicaState.READY)

    def _enter(self, state: ReplicaState, *, detail: str = "", restarts: int = 0) -> None:
        """Publishes a stage, where that is news. Only who takes work has an address."""
        if (state, detail, 0) == (self._info.state, self._info.detail, restarts) and self._is_told:
            return
        self._is_told = True
        takes_work = state in (ReplicaState.READY, ReplicaState.DRAINING)
        self._info = replace(
            self._info,
            state=state,
            detail=detail,
            address=self._info.address if takes_work else "",
            num_restarts=self._info.num_restarts + restarts,
        )
        self._log.info("replica", replica=self._info.replica_id, state=state.name, detail=detail)
        self._publish(self._info)


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, T]) -> AsyncIterator["asyncio.Task[T]"]:
    """Runs beside the block, and no longer."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _is_done(task: "asyncio.Task[Any]", within_s: float) -> bool:
    done, _ = await asyncio.wait([task], timeout=within_s)
    return bool(done)
