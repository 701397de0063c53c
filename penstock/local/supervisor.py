"""Keeps the services of a stack running, says when it can serve, and drains it in order."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby

from penstock.local.descendants import end_descendants
from penstock.local.errors import LocalError
from penstock.local.paths import StateDir
from penstock.local.plan import ProcessSpec
from penstock.local.requests import answering
from penstock.local.service import Service
from penstock.local.state import Phase, ReplicaView, ServiceState, StackState, Stage
from penstock_shared.channels import open_channel
from penstock_shared.credentials import FleetCredential
from penstock_shared.directory import Directory, DirectoryWatcher, ReplicaInfo, ReplicaState
from penstock_shared.tracing import Tracer

STOP_LIMIT_S = 30.0
_FAILED = ReplicaState.FAILED.name.lower()


class Supervisor:
    """One stack from its start to its end.

    Args:
        specs: what to run.
        state: the stack before anything runs; its services are filled in from `specs`.
        state_dir: where logs go.
        credential: shown to the fleet.
        report: told each new state of the stack.
        start_timeout_s: a stack that cannot serve by then is stopped again.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        state: StackState,
        *,
        state_dir: StateDir,
        credential: FleetCredential,
        report: Callable[[StackState], None],
        start_timeout_s: float,
    ) -> None:
        self._report = report
        self._socket_file = state_dir.socket_file
        self._credential = credential
        self._start_timeout_s = start_timeout_s
        self._services = [
            Service(
                spec,
                log=state_dir.log_file(spec.name),
                on_change=self._take_service,
                on_failed_start=self._fail,
            )
            for spec in specs
        ]
        self._state = replace(state, services=tuple(service.state for service in self._services))
        self._changed = asyncio.Event()
        self._restarting: str | None = None
        self._fleet_watch: asyncio.Task[None] | None = None
        self._end: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Runs until SIGTERM or SIGINT (a second one kills), then drains.

        Raises:
            LocalError: the stack could not start; everything that had started is gone again.
        """
        self._publish(self._state)
        with _on_signals(self._take_signal):
            async with answering(self._socket_file, self.restart), asyncio.TaskGroup() as group:
                start = group.create_task(self._watch_start())
                for service in self._services:
                    group.create_task(service.run())
                try:
                    problem = await self._end
                finally:
                    self._publish(replace(self._state, phase=Phase.DRAINING))
                    start.cancel()
                    await self._stop_in_order()
        await asyncio.to_thread(end_descendants)
        if problem is not None:
            raise LocalError(problem)

    async def restart(self, name: str) -> None:
        """Drains a service, starts it again, and returns when the stack can serve again.

        Raises:
            LocalError: it cannot be restarted now, or does not come back; says why.
        """
        service = self._restartable(name)
        before = service.state
        self._restarting = name
        try:
            await service.restart(STOP_LIMIT_S)
            await self._until(lambda: self._is_back(before))
        except TimeoutError:
            raise LocalError(
                f"{name} was restarted, but the stack cannot serve after {self._start_timeout_s:g} s; "
                f"still waiting for {self._state.waits_for}"
            ) from None
        finally:
            self._restarting = None

    def _restartable(self, name: str) -> Service:
        if self._state.phase is not Phase.READY:
            raise LocalError(f"the stack is {self._state.phase}; services can be restarted once it is ready")
        if self._restarting is not None:
            raise LocalError(f"{self._restarting} is being restarted; one at a time")
        found = {service.spec.name: service for service in self._services}
        if name not in found:
            raise LocalError(f"no service {name!r}; there are: {', '.join(found)}")
        return found[name]

    def _is_back(self, before: ServiceState) -> bool:
        """Whether another process of a service has taken over and the stack can serve; raises where it died again."""
        now = self._state.service(before.name)
        if now.num_restarts > before.num_restarts:
            raise LocalError(f"{now.name} {now.detail}; it is started again and again, see `penstock status`")
        return now.process not in (None, before.process) and self._state.can_serve

    async def _watch_fleet(self) -> None:
        tracer = Tracer("penstock-supervisor")
        channel = open_channel(self._state.addresses.fleet, credential=self._credential, tracer=tracer)
        async with channel:
            await DirectoryWatcher(channel, on_change=self._take_directory).run()

    async def _watch_start(self) -> None:
        try:
            await self._until(lambda: self._state.can_serve)
        except TimeoutError:
            self._fail(f"not ready after {self._start_timeout_s:g} s; still waiting for {self._state.waits_for}")
            return
        self._publish(replace(self._state, phase=Phase.READY))

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Waits until `condition` holds, for as long as a start may take; then raises TimeoutError."""
        async with asyncio.timeout(self._start_timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def _stop_in_order(self) -> None:
        by_rank = sorted(self._services, key=_stop_rank)
        for _, rank in groupby(by_rank, key=_stop_rank):
            await asyncio.gather(*(service.stop(STOP_LIMIT_S) for service in rank))

    def _take_service(self, service: ServiceState) -> None:
        state = self._state.with_service(service)
        if service.address == state.addresses.fleet:
            self._follow_fleet(is_running=service.process is not None and service.stage is not Stage.STOPPING)
            if service.process is None:
                state = replace(state, replicas=())  # they went with their fleet
        self._publish(state)

    def _follow_fleet(self, *, is_running: bool) -> None:
        """Watches each fleet from its start until it drains, for it waits for its open streams."""
        if self._fleet_watch is not None and not is_running:
            self._fleet_watch.cancel()
            self._fleet_watch = None
        elif self._fleet_watch is None and is_running:
            self._fleet_watch = asyncio.create_task(self._watch_fleet())

    def _take_directory(self, directory: Directory) -> None:
        views = tuple(self._view(replica) for replica in directory.replicas)
        self._publish(replace(self._state, replicas=views))
        failed = [view for view in views if view.stage == _FAILED]
        if failed and self._state.phase is Phase.STARTING:
            self._fail(f"replica {failed[0].replica_id} failed: {failed[0].detail}")

    def _view(self, replica: ReplicaInfo) -> ReplicaView:
        stage = replica.state.name.lower()
        before = {view.replica_id: view for view in self._state.replicas}.get(replica.replica_id)
        return ReplicaView(
            replica_id=replica.replica_id,
            stage=stage,
            since=before.since if before is not None and before.stage == stage else time.time(),
            address=replica.address,
            pid=replica.pid,
            incarnation=replica.incarnation,
            num_restarts=replica.num_restarts,
            detail=replica.detail,
        )

    def _take_signal(self) -> None:
        if self._end.done():
            for service in self._services:
                service.kill()
        else:
            self._end.set_result(None)

    def _fail(self, problem: str) -> None:
        if not self._end.done():
            self._end.set_result(problem)

    def _publish(self, state: StackState) -> None:
        self._state = state
        self._changed.set()
        self._report(state)


def _stop_rank(service: Service) -> int:
    return service.spec.stop_rank


@contextmanager
def _on_signals(handler: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
