"""What the service needs of a store. Every method keeps tenants apart and does its work off the event loop."""

from collections.abc import Mapping
from typing import Protocol

from penstock_cache.entries import ExactKey, NewEntry, Selector, StoredEntry, Totals


class Store(Protocol):
    """Keeps answers across restarts, within a budget of bytes.

    Every method raises `ResourceExhaustedError` where too many calls are pending, and `UnavailableError` where the
    store is out of reach.

    Attributes:
        num_evictions: entries that made room for others since the start, by tenant.
    """

    @property
    def num_evictions(self) -> Mapping[str, int]:
        """By tenant, since the start."""

    async def lookup(self, key: ExactKey) -> StoredEntry | None:
        """The entry of that key, unless it has expired."""

    async def put(self, entry: NewEntry) -> str | None:
        """Keeps an entry and returns its id when it is on disk; None where it is larger than the budget."""

    async def invalidate(self, tenant: str, selector: Selector) -> int:
        """Removes entries of a tenant and returns how many."""

    async def sweep(self) -> int:
        """Removes what has expired and returns how many."""

    async def totals(self, tenant: str) -> Totals:
        """What is stored for a tenant; for all together where `tenant` is empty."""
