"""Keeps a session open to every replica that the directory calls ready."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

from penstock_gateway.dispatch.dispatcher import Dispatcher
from penstock_gateway.dispatch.replica_link import ReplicaLink
from penstock_gateway.dispatch.replica_session import ReplicaSession
from penstock_shared.directory import Directory, ModelSpec, ReplicaInfo, ReplicaState
from penstock_shared.logs import get_logger

_FIRST_BACK_OFF_S = 0.1
_LONGEST_BACK_OFF_S = 2.0
_JITTER = 0.3


@dataclass(slots=True)
class _Keeper:
    """One incarnation of a replica, the task that keeps a session to it, and the session's link while it is open."""

    replica: ReplicaInfo
    spec: ModelSpec
    is_wanted: bool = True
    link: ReplicaLink | None = None
    end: Callable[[], object] = field(default=lambda: None)

    def want(self, is_wanted: bool) -> None:
        """Whether it is to get new work."""
        self.is_wanted = is_wanted
        if self.link is not None:
            self.link.is_wanted = is_wanted

    def opened(self, link: ReplicaLink) -> None:
        """A session is open."""
        self.link = link
        link.is_wanted = self.is_wanted


class ReplicaPool:
    """Follows the directory, one keeper for each incarnation of a replica.

    A session that is open outlives what the directory says of its replica: it only gets no more work. Whether a replica
    lives is told by its own stream.

    Args:
        dispatcher: gets the links.
        open_channel: a channel to an address.
        gateway_id: names this gateway to workers.
    """

    def __init__(
        self, *, dispatcher: Dispatcher, open_channel: Callable[[str], grpc.aio.Channel], gateway_id: str
    ) -> None:
        self._dispatcher = dispatcher
        self._open_channel = open_channel
        self._gateway_id = gateway_id
        self._keepers: dict[tuple[str, int], _Keeper] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = get_logger("replicas")

    def update(self, directory: Directory) -> None:
        """Takes over a new directory: opens sessions to what is new, and stops giving work to what is not ready."""
        specs = {spec.key: spec for spec in directory.all_revisions}
        ready = {
            (replica.replica_id, replica.incarnation): replica
            for replica in directory.replicas
            if replica.state is ReplicaState.READY and (replica.model, replica.revision) in specs
        }
        for key, keeper in list(self._keepers.items()):
            keeper.want(key in ready)
            if not keeper.is_wanted and keeper.link is None:
                self._drop(key)
        for key, replica in ready.items():
            if key not in self._keepers:
                self._keep(key, _Keeper(replica, specs[replica.model, replica.revision]))
        self._dispatcher.wake()

    async def close(self) -> None:
        """Ends all sessions."""
        for key in list(self._keepers):
            self._drop(key)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, key: tuple[str, int], keeper: _Keeper) -> None:
        task = asyncio.ensure_future(self._run(keeper))
        keeper.end = task.cancel
        self._keepers[key] = keeper
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _drop(self, key: tuple[str, int]) -> None:
        self._keepers.pop(key).end()

    async def _run(self, keeper: _Keeper) -> None:
        """One session after the other, with back-off between, until cancelled.

        A replica whose session has failed once gets no work before a heartbeat says that it makes progress.
        """
        back_off_s = _FIRST_BACK_OFF_S
        has_failed = False
        while True:
            link = await self._run_once(keeper, is_trusted=not has_failed)
            has_failed |= link is not None
            is_well = link is not None and link.health.is_trusted
            back_off_s = _FIRST_BACK_OFF_S if is_well else min(_LONGEST_BACK_OFF_S, 2 * back_off_s)
            if not keeper.is_wanted:
                return
            await asyncio.sleep(back_off_s * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - no secret

    async def _run_once(self, keeper: _Keeper, *, is_trusted: bool) -> ReplicaLink | None:
        """Runs a session to its end, and returns its link if it was open."""
        session = ReplicaSession(
            keeper.replica,
            keeper.spec,
            dispatcher=self._dispatcher,
            gateway_id=self._gateway_id,
            is_trusted=is_trusted,
        )
        try:
            async with self._open_channel(keeper.replica.address) as channel:
                ended = await session.run(channel, keeper.opened)
        finally:
            link, keeper.link = keeper.link, None
        self._log.warning("session ended", replica=keeper.replica.replica_id, reason=str(ended))
        return link
