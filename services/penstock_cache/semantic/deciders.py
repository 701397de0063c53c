"""A decider for each tenant and model, built from the labels that the store kept."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from penstock_cache.decision.decider import Decider
from penstock_cache.decision.error_estimate import ErrorEstimate
from penstock_cache.decision.label import Label
from penstock_cache.store import Store
from penstock_shared.errors import PenstockError
from penstock_shared.logs import get_logger


@dataclass(slots=True)
class _Held:
    decider: Decider
    last_label: int
    refreshed_s: float
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


class Deciders:
    """Everything is learned by reading what the store has, so that what other instances wrote is learned too.

    Args:
        store: has the labels.
        make: a decider that has learned nothing.
        max_held: how many are kept in memory; one that is not used is built again when it is needed.
        refresh_interval_s: how often labels of other instances are looked for.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        store: Store,
        make: Callable[[], Decider],
        *,
        clock: Callable[[], float],
        max_held: int = 256,
        refresh_interval_s: float = 5.0,
    ) -> None:
        self._store = store
        self._make = make
        self._clock = clock
        self._max_held = max_held
        self._refresh_interval_s = refresh_interval_s
        self._held: OrderedDict[tuple[str, str], asyncio.Task[_Held]] = OrderedDict()
        self._background: set[asyncio.Task[None]] = set()
        self._log = get_logger("deciders")

    async def of(self, tenant: str, model: str) -> Decider:
        """The decider; the first call builds it, and goes on with that when its caller has no more time.

        Raises:
            PenstockError: the labels are out of reach.
        """
        held = await self._get(tenant, model)
        if self._clock() - held.refreshed_s >= self._refresh_interval_s:
            held.refreshed_s = self._clock()
            self._in_background(self._refresh(tenant, model, held))
        return held.decider

    async def learn(self, tenant: str, model: str, label: Label) -> None:
        """Keeps a label, and has it learned.

        Raises:
            PenstockError: it could not be kept.
        """
        await self._store.add_label(tenant, model, label)
        await self._read_new(tenant, model, await self._get(tenant, model))

    def estimates(self, tenant: str) -> list[ErrorEstimate]:
        """How often hits are wrong, by each decider of a tenant, or of all together where `tenant` is empty."""
        return [
            building.result().decider.estimate
            for (owner, _), building in self._held.items()
            if tenant in {"", owner} and building.done() and not building.cancelled() and building.exception() is None
        ]

    async def _get(self, tenant: str, model: str) -> _Held:
        key = (tenant, model)
        building = self._held.get(key)
        if building is None:
            building = self._held[key] = asyncio.create_task(self._build(tenant, model))
            if len(self._held) > self._max_held:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        try:
            return await asyncio.shield(building)
        except PenstockError:
            if self._held.get(key) is building:
                del self._held[key]  # the next call tries again
            raise

    async def _build(self, tenant: str, model: str) -> _Held:
        stored = await self._store.labels(tenant, model)
        decider = self._make()
        await asyncio.to_thread(decider.restore, [each.label for each in stored])
        return _Held(decider, stored[-1].number if stored else 0, self._clock())

    async def _read_new(self, tenant: str, model: str, held: _Held) -> None:
        async with held.reading:  # two readers at once would learn the same labels twice
            for stored in await self._store.labels(tenant, model, after=held.last_label):
                held.last_label = stored.number
                held.decider.learn(stored.label)

    async def _refresh(self, tenant: str, model: str, held: _Held) -> None:
        try:
            await self._read_new(tenant, model, held)
        except PenstockError as error:
            self._log.warning("could not read labels of other instances", error=error.message)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
