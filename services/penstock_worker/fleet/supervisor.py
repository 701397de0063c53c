"""Keeps one replica running: places it, has it load, checks what it loaded, and starts over when it dies."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from penstock_shared.directory import AdapterSpec, ModelSpec, ReplicaInfo, ReplicaState
from penstock_shared.logs import get_logger
from penstock_worker.replica.registration import LoadFailure, ProcessInfo, Registration

_FIRST_BACK_OFF_S = 0.25
_LONGEST_BACK_OFF_S = 10.0
# An error that Ray hands over holds the whole traceback.
_MAX_DETAIL_CHARS = 500


class ReplicaDiedError(Exception):
    """The replica's process ended: expected, it is started again."""


class NotPreparedError(Exception):
    """A replica that has loaded lacks something yet: expected, it is tried again."""


class ReplicaProcess(Protocol):
    """One replica's leader, wherever it runs. Every method but `place` raises ReplicaDiedError when it is gone."""

    async def place(self) -> None:
        """Waits for resources and makes sure that the leader is being started."""

    async def process(self) -> ProcessInfo:
        """Waits for the leader's process."""

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
    ) -> None:
        self._spec = spec
        self._process = process
        self._publish = publish
        self._prepare = prepare
        self._sleep = sleep
        self._log = get_logger("fleet")
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
        back_off_s = _FIRST_BACK_OFF_S
        while True:
            try:
                if not await self._bring_up():
                    return
                back_off_s = _FIRST_BACK_OFF_S
                await self._process.wait_for_death()
            except ReplicaDiedError as error:
                self._log.warning("replica died", replica=self._info.replica_id, reason=str(error))
                needs_pause = self._info.state is not ReplicaState.READY  # it died while starting
                self._enter(ReplicaState.RESTARTING, detail=f"process {self._info.pid} died", restarts=1)
            except NotPreparedError as error:
                self._log.warning("replica does not serve yet", replica=self._info.replica_id, reason=str(error))
                needs_pause = True
                self._enter(ReplicaState.LOADING, detail=str(error)[:_MAX_DETAIL_CHARS])
            except Exception as error:  # noqa: BLE001 - the boundary: unseen, it would leave the replica as it is for ever
                self._log.exception("supervision failed", replica=self._info.replica_id)
                needs_pause = True
                self._enter(
                    ReplicaState.RESTARTING, detail=f"unexpected error: {error!r}"[:_MAX_DETAIL_CHARS], restarts=1
                )
            if needs_pause:  # let what is wrong pass
                await self._sleep(back_off_s)
                back_off_s = min(_LONGEST_BACK_OFF_S, 2 * back_off_s)

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
        await self._process.place()
        process = await self._process.process()
        self._info = replace(self._info, pid=process.pid, incarnation=process.incarnation)
        self._enter(ReplicaState.LOADING)
        loaded = await self._process.load()
        flaw = loaded.message if isinstance(loaded, LoadFailure) else self._mismatch(loaded)
        if isinstance(loaded, LoadFailure) or flaw is not None:
            self._enter(ReplicaState.FAILED, detail=flaw or "")
            await self._process.remove()
            return False
        if self._prepare is not None:
            await self._prepare(self._process)
        self._register(loaded)
        return True

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
        """Publishes a stage. Only who takes work has an address."""
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
