"""The contract of every store: entries that leave it whole and come back elsewhere."""

from dataclasses import replace

import numpy as np
import pytest
from fakes.cache_entries import OpenStore, entry, found, key, near, scope, semantic
from fakes.clock import FakeClock

from penstock_cache.entries import ExactKey, ExportedEntry, Restored, SelectBy, Selector
from penstock_cache.store import Store

pytestmark = pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)


async def exported(store: Store, tenant: str = "acme") -> list[ExportedEntry]:
    """All that a tenant's export gives."""
    return [each async for each in store.export(tenant)]


async def test_an_export_holds_a_tenants_living_entries_whole(open_store: OpenStore, clock: FakeClock) -> None:
    """Nothing of another tenant, nothing dead, and no field lost."""
    store = open_store()
    part = semantic("a", [1, 0], cluster="shared")
    whole = entry("a", tags=("blue", "red"), tokens_saved=7, semantic=part)
    await store.put(whole)
    await store.put(entry("b"))
    await store.put(entry("dead", ttl_s=1))
    await store.put(entry("c", tenant="other"))
    await found(store, "a")
    await store.sweep()  # writes the use
    clock.advance(1)
    first, second = await exported(store)
    assert second == ExportedEntry(entry("b"), 1000.0, 0)
    assert replace(first, entry=replace(first.entry, semantic=None)) == ExportedEntry(
        replace(whole, semantic=None), 1000.0, 1
    )
    kept = first.entry.semantic
    assert kept is not None
    assert (kept.context_digest, kept.encoder_fingerprint, kept.cluster) == (
        part.context_digest,
        part.encoder_fingerprint,
        "shared",
    )
    assert (kept.prompt.text, kept.prompt.detail) == (part.prompt.text, part.prompt.detail)
    assert np.array_equal(kept.prompt.vector, part.prompt.vector)


async def test_an_export_of_more_than_a_page_has_each_entry_once(open_store: OpenStore) -> None:
    """Pages must join."""
    store = open_store()
    for number in range(230):
        await store.put(entry(f"{number}"))
    assert [each.entry.key for each in await exported(store)] == [key(f"{number}") for number in range(230)]


async def test_restored_entries_are_found_as_before(open_store: OpenStore, clock: FakeClock) -> None:
    """By key and by meaning, for the tenant that the key names now, until they would have expired anyway."""
    store = open_store()
    await store.put(entry("a", ttl_s=10, tags=("t",), semantic=semantic("a", [1, 0], cluster="shared")))
    clock.advance(4)
    for each in await exported(store):
        moved = replace(each, entry=replace(each.entry, key=ExactKey("new", each.entry.key.digest)))
        assert await store.restore(moved) is Restored.KEPT
    assert await found(store, "a", "new") == "a"
    assert await near(store, [1, 0], within=scope("new")) == ["a"]
    assert [each.entry.semantic.cluster for each in await exported(store, "new") if each.entry.semantic] == ["shared"]
    clock.advance(6)
    assert await found(store, "a", "new") is None


async def test_what_is_dead_or_older_is_not_restored(open_store: OpenStore, clock: FakeClock) -> None:
    """An import must not bring back what was replaced since."""
    store = open_store()
    await store.put(entry("a", ttl_s=10))
    (old,) = await exported(store)
    clock.advance(1)
    await store.put(replace(entry("a"), answer=b"fresh"))
    assert await store.restore(old) is Restored.ALREADY_THERE
    assert await found(store, "a") == "fresh"
    await store.invalidate("acme", Selector(SelectBy.ALL))
    clock.advance(9)
    assert await store.restore(old) is Restored.REFUSED
    assert await found(store, "a") is None


async def test_what_is_there_is_told_from_what_is_refused(open_store: OpenStore) -> None:
    """An operator who imports twice wants to hear that all is well, and which records were no use."""
    store = open_store(max_bytes=4000)
    await store.put(entry("a"))
    (there,) = await exported(store)
    large = replace(there, entry=replace(there.entry, key=key("b"), answer=bytes(4000)))
    assert await store.restore(there) is Restored.ALREADY_THERE
    assert await store.restore(large) is Restored.REFUSED
