"""What the service needs of a store. Every method keeps tenants apart and does its work off the event loop."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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
from penstock_cache.semantic.prompts import EncodedPrompt


class Store(Protocol):
    """Keeps answers across restarts, within a budget of bytes.

    Every method that waits raises `ResourceExhaustedError` where too many calls are pending, and `UnavailableError`
    where the store is out of reach.

    Attributes:
        num_evictions: entries that made room for others since the start, by tenant.
    """

    @property
    def num_evictions(self) -> Mapping[str, int]:
        """By tenant, since the start."""

    async def lookup(self, key: ExactKey) -> StoredEntry | None:
        """The entry of that key, unless it has expired; a found one counts as used."""

    async def entry(self, tenant: str, entry_id: str) -> StoredEntry | None:
        """The entry of that id, unless it has expired or is another tenant's. Does not count as a use."""

    async def has_prompts(self, scope: PromptScope) -> bool:
        """Whether there may be a prompt in a scope; False where there certainly is none."""

    async def neighbours(self, scope: PromptScope, vector: NDArray[np.float32], limit: int) -> list[Neighbour]:
        """The nearest prompts of a scope whose answers have not expired, nearest first. Does not count as a use."""

    async def put(self, entry: NewEntry) -> str | None:
        """Keeps an entry and returns its id when it is on disk.

        None where it is larger than the budget, or worth less than what would have to go.
        """

    def used(self, entry_id: str) -> None:
        """Notes that an entry was served by meaning. Costs the caller nothing; written with the next changes."""

    async def invalidate(self, tenant: str, selector: Selector) -> int:
        """Removes entries of a tenant and returns how many."""

    async def sweep(self) -> int:
        """Removes what has expired and returns how many; drops the oldest labels over their bound."""

    async def totals(self, tenant: str) -> Totals:
        """What is stored for a tenant; for all together where `tenant` is empty."""

    async def add_label(self, tenant: str, model: str, label: Label) -> None:
        """Keeps what an exploration showed."""

    async def labels(self, tenant: str, model: str, *, after: int = 0, limit: int = 10_000) -> list[StoredLabel]:
        """The newest `limit` labels with numbers above `after`, oldest first.

        With the last number seen as `after`, an instance learns what others wrote.
        """

    async def restore_label(self, tenant: str, model: str, label: Label) -> Restored:
        """Keeps an exported label, unless it is there: what was learned once must not count twice."""

    async def label_models(self, tenant: str) -> list[str]:
        """The models that a tenant has labels for, in order."""

    async def num_stale_prompts(self, tenant: str, encoder_fingerprint: str) -> int:
        """How many prompts of a tenant, or of all where `tenant` is empty, another encoder has encoded."""

    async def stale_prompts(self, encoder_fingerprint: str, limit: int) -> list[StalePrompt]:
        """Prompts of all tenants that another encoder than this one has encoded, unless that is the present one."""

    async def claim_encoder(self, encoder_fingerprint: str) -> None:
        """Makes this the present encoder, in place of another instance's: prompts are encoded anew for it alone."""

    async def is_present_encoder(self, encoder_fingerprint: str) -> bool:
        """Whether no other encoder was claimed since."""

    async def replace_prompts(self, encoder_fingerprint: str, encoded: Sequence[tuple[int, EncodedPrompt]]) -> int:
        """Gives prompts, by their `prompt_id`, what a new encoder made of them. Those that are gone are left out.

        Returns how many were replaced; 0 where another encoder has become the present one.
        """

    def export(self, tenant: str) -> AsyncIterator[ExportedEntry]:
        """The entries of a tenant that have not expired. What changes meanwhile may be in it or not."""

    async def restore(self, exported: ExportedEntry) -> Restored:
        """Keeps an exported entry for the tenant that its key names, under a new id."""
