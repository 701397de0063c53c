"""The store over a database."""

import asyncio
import queue
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from penstock_cache import encoder_statements, export_statements, label_statements, prompt_statements, statements
from penstock_cache.admission import Admission, Resident
from penstock_cache.connection import Connection
from penstock_cache.database import Database
from penstock_cache.decision.label import Label
from penstock_cache.entries import (
    ExactKey,
    ExportedEntry,
    Neighbour,
    NewEntry,
    PromptScope,
    Restored,
    Selector,
    StalePrompt,
    StoredEntry,
    StoredLabel,
    Totals,
)
from penstock_cache.frequency_sketch import FrequencySketch
from penstock_cache.prompt_changes import PromptChange
from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.use_counts import UseCounts
from penstock_shared.errors import ResourceExhaustedError, UnavailableError
from penstock_shared.logs import get_logger

T = TypeVar("T")
_RETRY_AFTER_S = 0.1
_EXPORT_PAGE = 100
_MAX_LABELS = 20_000

Change = Callable[..., T]  # of a connection, and the list `changes` to which it adds what it did to prompts


class DatabaseStore:
    """Keeps entries in a database. `Store` has the contract.

    Args:
        database: where; closed with the store.
        max_bytes: budget of all entries together.
        max_pending: how many calls may run or wait.
        wall_clock: seconds since the epoch; entries outlive this process.

    Attributes:
        num_evictions: by tenant, since the start.
    """

    def __init__(
        self, database: Database, *, max_bytes: int, max_pending: int, wall_clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._max_bytes = max_bytes
        self._max_pending = max_pending
        self._wall_clock = wall_clock
        self._num_pending = 0
        self._uses = UseCounts()
        self._admission = Admission(FrequencySketch(_sketch_width(max_bytes)))
        self._log = get_logger("store")
        self.num_evictions: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"DatabaseStore({self._database!r}, pending={self._num_pending}/{self._max_pending})"

    async def lookup(self, key: ExactKey) -> StoredEntry | None:
        """The entry of that key, unless it has expired; a found one counts as used."""
        self._admission.asked(key)
        found = await self._read(partial(statements.find, key=key, now_s=self._wall_clock()))
        if found is not None:
            self._uses.note(found.entry_id)
        return found

    async def entry(self, tenant: str, entry_id: str) -> StoredEntry | None:
        """The entry of that id, unless it has expired or is another tenant's."""
        find = partial(statements.find_by_id, tenant=tenant, entry_id=entry_id, now_s=self._wall_clock())
        return await self._read(find)

    async def has_prompts(self, scope: PromptScope) -> bool:
        """Whether there may be a prompt in a scope."""
        return await self._read(partial(prompt_statements.find_scope, scope=scope)) is not None

    async def neighbours(self, scope: PromptScope, vector: NDArray[np.float32], limit: int) -> list[Neighbour]:
        """The nearest prompts of a scope whose answers have not expired, nearest first."""
        now_s = self._wall_clock()
        return await self._run(lambda: self._database.neighbours(scope, vector, limit, now_s))

    async def put(self, entry: NewEntry) -> str | None:
        """Keeps an entry; others go where it does not fit."""
        entry_id = uuid.uuid4().hex
        kept = await self._insert(ExportedEntry(entry, created_s=self._wall_clock(), num_uses=0), entry_id)
        return entry_id if kept is Restored.KEPT else None

    def used(self, entry_id: str) -> None:
        """Notes that an entry was served by its meaning."""
        self._admission.served(entry_id)
        self._uses.note(entry_id)

    async def invalidate(self, tenant: str, selector: Selector) -> int:
        """Removes entries of a tenant and returns how many."""
        return await self._write(partial(statements.remove, tenant=tenant, selector=selector))

    async def sweep(self) -> int:
        """Removes what has expired and returns how many."""
        now_s = self._wall_clock()

        def clean(connection: Connection, *, changes: list[PromptChange]) -> int:
            statements.note_uses(connection, self._uses.take(), now_s)
            label_statements.remove_oldest(connection, _MAX_LABELS)
            num_removed = statements.remove_expired(connection, now_s, changes)
            prompt_statements.remove_empty_scopes(connection)
            return num_removed

        num_removed = await self._write(clean)
        self._database.tidy()
        return num_removed

    async def totals(self, tenant: str) -> Totals:
        """What is stored for a tenant, or for all together."""
        return await self._read(partial(statements.totals, tenant=tenant))

    async def add_label(self, tenant: str, model: str, label: Label) -> None:
        """Keeps what an exploration showed."""
        insert = partial(label_statements.insert, tenant=tenant, model=model, label=label)
        await self._run(lambda: self._database.write(insert, ()))

    async def labels(self, tenant: str, model: str, *, after: int = 0, limit: int = 10_000) -> list[StoredLabel]:
        """The newest labels with numbers above `after`, oldest first."""
        return await self._read(partial(label_statements.newest, tenant=tenant, model=model, after=after, limit=limit))

    async def restore_label(self, tenant: str, model: str, label: Label) -> Restored:
        """Keeps an exported label, unless it is there."""
        restore = partial(label_statements.restore, tenant=tenant, model=model, label=label)
        return await self._run(lambda: self._database.write(restore, ()))

    async def label_models(self, tenant: str) -> list[str]:
        """The models that a tenant has labels for."""
        return await self._read(partial(label_statements.models, tenant=tenant))

    async def num_stale_prompts(self, tenant: str, encoder_fingerprint: str) -> int:
        """How many prompts another encoder has encoded."""
        count = partial(prompt_statements.num_stale, tenant=tenant, encoder_fingerprint=encoder_fingerprint)
        return await self._read(count)

    async def stale_prompts(self, encoder_fingerprint: str, limit: int) -> list[StalePrompt]:
        """Prompts that another encoder has encoded, unless that one is the present one."""
        return await self._read(partial(prompt_statements.stale, encoder_fingerprint=encoder_fingerprint, limit=limit))

    async def claim_encoder(self, encoder_fingerprint: str) -> None:
        """Makes this the present encoder."""
        claim = partial(encoder_statements.claim, encoder_fingerprint=encoder_fingerprint)
        await self._run(lambda: self._database.write(claim, ()))

    async def is_present_encoder(self, encoder_fingerprint: str) -> bool:
        """Whether no other encoder was claimed since."""
        return await self._read(partial(encoder_statements.is_present, encoder_fingerprint=encoder_fingerprint))

    async def replace_prompts(self, encoder_fingerprint: str, encoded: Sequence[tuple[int, EncodedPrompt]]) -> int:
        """Gives prompts what a new encoder made of them."""
        return await self._write(
            partial(prompt_statements.replace, encoder_fingerprint=encoder_fingerprint, encoded=encoded)
        )

    async def export(self, tenant: str) -> AsyncIterator[ExportedEntry]:
        """The entries of a tenant that have not expired."""
        after = 0
        while True:
            read = partial(
                export_statements.page, tenant=tenant, after=after, limit=_EXPORT_PAGE, now_s=self._wall_clock()
            )
            page = await self._read(read)
            for after, exported in page:  # noqa: B007 - the last one is where the next page begins
                yield exported
            if len(page) < _EXPORT_PAGE:
                return

    async def restore(self, exported: ExportedEntry) -> Restored:
        """Keeps an exported entry, unless it has expired or a newer one is there."""
        if exported.created_s + exported.entry.ttl_s <= self._wall_clock():
            return Restored.REFUSED
        return await self._insert(exported, uuid.uuid4().hex, is_restored=True)

    def close(self) -> None:
        """Finishes the writes that wait."""
        self._database.close()

    async def _insert(self, new: ExportedEntry, entry_id: str, *, is_restored: bool = False) -> Restored:
        if statements.size_of(new.entry) > self._max_bytes:
            return Restored.REFUSED
        now_s = self._wall_clock()

        def insert(connection: Connection, *, changes: list[PromptChange]) -> tuple[Restored, Counter[str]]:
            statements.note_uses(connection, self._uses.take(), now_s)
            if is_restored and export_statements.is_older(connection, new):
                return Restored.ALREADY_THERE, Counter()
            statements.remove_key(connection, new.entry.key, changes)
            is_admitted, evicted = self._make_room(connection, new, changes)
            if is_admitted:
                statements.insert(connection, new, entry_id, changes)
            return Restored.KEPT if is_admitted else Restored.REFUSED, evicted

        kept, evicted = await self._write(insert)
        self.num_evictions += evicted
        return kept

    def _make_room(
        self, connection: Connection, new: ExportedEntry, changes: list[PromptChange]
    ) -> tuple[bool, Counter[str]]:
        """Whether an entry may come, and how many went, by tenant: for it, or as the budget became smaller."""
        num_free = self._max_bytes - statements.totals(connection, "").size_bytes
        too_many = self._cheapest(connection, -num_free)
        evicted = statements.evict(connection, too_many, changes)
        num_free += sum(each.size_bytes for each in too_many)
        victims = self._cheapest(connection, statements.size_of(new.entry) - num_free)
        if not self._admission.is_worth(new, victims):
            return False, evicted
        return True, evicted + statements.evict(connection, victims, changes)

    def _cheapest(self, connection: Connection, num_bytes: int) -> list[Resident]:
        """Who goes first so that there are `num_bytes` more."""
        return self._admission.cheapest(statements.least(connection, num_bytes), num_bytes) if num_bytes > 0 else []

    async def _read(self, read: Callable[[Connection], T]) -> T:
        return await self._run(lambda: self._database.read(read))

    async def _write(self, change: Change[T]) -> T:
        changes: list[PromptChange] = []
        return await self._run(lambda: self._database.write(partial(change, changes=changes), changes))

    async def _run(self, submit: Callable[[], Future[T]]) -> T:
        """The result of what `submit` starts. A caller that leaves takes back what has not begun, but no write."""
        if self._num_pending >= self._max_pending:
            raise self._too_busy()
        loop = asyncio.get_running_loop()
        try:
            future = submit()
            self._num_pending += 1
            future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._forget))
            return await asyncio.wrap_future(future)
        except queue.Full:
            raise self._too_busy() from None
        except self._database.error as error:
            self._log.error("the database failed", error=str(error))
            raise UnavailableError("the cache's database failed", retry_after_s=_RETRY_AFTER_S) from error

    def _forget(self) -> None:
        self._num_pending -= 1

    def _too_busy(self) -> ResourceExhaustedError:
        message = f"the cache has {self._num_pending} calls pending; its maximum is {self._max_pending}"
        return ResourceExhaustedError(message, quota="cache_pending_calls", retry_after_s=_RETRY_AFTER_S)


def _sketch_width(max_bytes: int) -> int:
    """A place for each of the smallest entries that fit, between 4 kB and 1 MB of memory in all."""
    num_entries = max_bytes // statements.OVERHEAD_BYTES
    return 1 << min(max(num_entries.bit_length(), 10), 18)
