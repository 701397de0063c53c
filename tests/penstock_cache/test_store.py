"""The contract of every store: what is kept, for whom, how long, and what goes first."""

import random

import pytest
from fakes.cache_entries import OpenStore, entry, found, key
from fakes.clock import FakeClock

from penstock_cache.entries import NewEntry, SelectBy, Selector
from penstock_cache.statements import size_of
from penstock_cache.store import Store

pytestmark = pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)


async def test_what_was_put_is_found_after_a_restart(open_store: OpenStore, clock: FakeClock) -> None:
    """Answers outlive the process."""
    store = open_store()
    entry_id = await store.put(entry("a"))
    stored = await store.lookup(key("a"))
    assert stored is not None
    assert (stored.entry_id, stored.created_s) == (entry_id, 1000.0)
    assert await open_store().lookup(key("a")) == stored


async def test_the_same_key_is_kept_once_with_the_newest_answer(open_store: OpenStore) -> None:
    """A refreshed answer replaces the old one, its tags included."""
    store = open_store()
    await store.put(entry("a", tags=("old",)))
    await store.put(NewEntry(key("a"), "r2", b"fresh", 100.0, ("new",)))
    assert await found(store, "a") == "fresh"
    assert (await store.totals("acme")).num_entries == 1
    assert await store.invalidate("acme", Selector(SelectBy.TAG, "old")) == 0


async def test_tenants_share_nothing(open_store: OpenStore) -> None:
    """The same digest of another tenant is another entry, and one tenant's invalidation spares the other's."""
    store = open_store()
    entry_id = await store.put(entry("a", tags=("t",)))
    assert await found(store, "a", tenant="other") is None
    await store.put(entry("a", tenant="other", tags=("t",)))
    for selector in (
        Selector(SelectBy.ENTRY_ID, entry_id or ""),
        Selector(SelectBy.TAG, "none"),
        Selector(SelectBy.MODEL_REVISION, "none"),
    ):
        assert await store.invalidate("other", selector) == 0
    assert await store.invalidate("other", Selector(SelectBy.ALL)) == 1
    assert await found(store, "a") == "a"


async def test_an_answer_is_not_served_past_its_time(open_store: OpenStore, clock: FakeClock) -> None:
    """Whoever set a time to live relies on it, to the second and before any sweep."""
    store = open_store()
    await store.put(entry("short", ttl_s=10))
    await store.put(entry("long", ttl_s=20))
    clock.advance(9.9)
    assert await found(store, "short") == "short"
    clock.advance(0.1)
    assert (await found(store, "short"), await found(store, "long")) == (None, "long")
    assert await store.sweep() == 1
    assert (await store.totals("")).num_entries == 1


@pytest.mark.parametrize(
    ("selector", "left"),
    [
        (Selector(SelectBy.TAG, "red"), ["c"]),
        (Selector(SelectBy.MODEL_REVISION, "r1"), ["c"]),
        (Selector(SelectBy.ALL), []),
    ],
)
async def test_an_invalidation_removes_what_it_names_and_no_more(
    open_store: OpenStore, selector: Selector, left: list[str]
) -> None:
    """Changed documents and models make answers wrong."""
    store = open_store()
    await store.put(entry("a", tags=("red", "blue")))
    await store.put(entry("b", tags=("red",)))
    await store.put(entry("c", tags=("blue",), revision="r2"))
    assert await store.invalidate("acme", selector) == 3 - len(left)
    assert [name for name in "abc" if await found(store, name) is not None] == left


async def test_one_entry_is_removed_by_its_id(open_store: OpenStore) -> None:
    """A user has reported one bad answer."""
    store = open_store()
    first, _ = await store.put(entry("a")), await store.put(entry("b"))
    assert await store.invalidate("acme", Selector(SelectBy.ENTRY_ID, first or "")) == 1
    assert (await found(store, "a"), await found(store, "b")) == (None, "b")


async def test_the_least_recently_used_entry_makes_room(open_store: OpenStore, clock: FakeClock) -> None:
    """The budget holds, and what is asked for stays."""
    store = open_store(max_bytes=3 * size_of(entry("a")))
    for name in "abc":
        clock.advance(1)
        await store.put(entry(name))
    clock.advance(1)
    await found(store, "a")
    await store.put(entry("d"))
    assert [name for name in "abcd" if await found(store, name) is not None] == ["a", "c", "d"]
    assert store.num_evictions == {"acme": 1}
    assert (await store.totals("")).size_bytes == 3 * size_of(entry("a"))


async def test_an_answer_larger_than_the_budget_evicts_nothing(open_store: OpenStore) -> None:
    """It could never stay."""
    store = open_store(max_bytes=2 * size_of(entry("a")))
    await store.put(entry("a"))
    assert await store.put(NewEntry(key("big"), "r1", bytes(10_000), 100.0)) is None
    assert await found(store, "a") == "a"


async def test_a_smaller_budget_holds_from_the_next_entry_on(open_store: OpenStore) -> None:
    """An operator lowers the budget of a store that is full."""
    store = open_store()
    for name in "abcdef":
        await store.put(entry(name))
    store.close()
    small = open_store(max_bytes=2 * size_of(entry("a")))
    await small.put(entry("g"))
    assert (await small.totals("")).num_entries == 2
    assert await found(small, "g") == "g"


async def test_what_is_asked_for_again_survives_what_is_asked_for_once(open_store: OpenStore) -> None:
    """A crawler that asks a thousand things must not cost the answers that everybody wants."""
    store = open_store(max_bytes=4 * size_of(entry("00")))
    await store.put(entry("wanted"))
    for _ in range(3):
        assert await found(store, "wanted") == "wanted"
    num_stored = 0
    for number in range(40):
        assert await found(store, f"{number:02}") is None
        num_stored += await store.put(entry(f"{number:02}")) is not None
    assert await found(store, "wanted") == "wanted"
    assert num_stored == 40  # one of those that came before was worth no more
    assert (await store.totals("")).num_entries == 4


async def test_an_entry_worth_less_than_what_had_to_go_is_not_stored(open_store: OpenStore) -> None:
    """Its former answer goes all the same: whoever puts one says that the old one is out of date."""
    store = open_store(max_bytes=2 * size_of(entry("a")))
    await store.put(entry("a"))
    for name in "bc":
        await store.put(entry(name, tokens_saved=100))
    assert [name for name in "abc" if await found(store, name)] == ["b", "c"]
    assert await store.put(entry("d")) is None
    larger = NewEntry(key("b"), "r1", bytes(1500), 100.0)
    assert await store.put(larger) is None
    assert [name for name in "abcd" if await found(store, name)] == ["c"]


@pytest.mark.parametrize("seed", range(8))
async def test_any_history_agrees_with_a_dictionary(open_store: OpenStore, clock: FakeClock, seed: int) -> None:
    """The counts stay true, the budget holds and no answer is another's, whatever the order of calls."""
    store, randomness = open_store(max_bytes=4 * size_of(entry("a"))), random.Random(seed)
    ends_s: dict[tuple[str, str], float] = {}  # of what was put and not removed; some of it may have been evicted
    for _ in range(40):
        clock.advance(1)
        step, name = randomness.choice(["put", "put", "get", "clear", "sweep"]), randomness.choice("abcdef")
        tenant = randomness.choice(["acme", "other"])
        if step == "put" and await store.put(entry(name, tenant=tenant, ttl_s=10)) is not None:
            ends_s[tenant, name] = clock() + 10
            assert await found(store, name, tenant) == name
        elif step == "get":
            assert await found(store, name, tenant) in {None, name if ends_s.get((tenant, name), 0) > clock() else None}
        elif step == "clear":
            await store.invalidate(tenant, Selector(SelectBy.ALL))
            ends_s = {each: end_s for each, end_s in ends_s.items() if each[0] != tenant}
        else:
            await store.sweep()
        await _check_totals(store, len(ends_s))


async def _check_totals(store: Store, most: int) -> None:
    """The totals of all are those of the tenants, and within the budget."""
    total, *parts = [await store.totals(tenant) for tenant in ("", "acme", "other")]
    assert total.num_entries == sum(part.num_entries for part in parts) <= min(most, 4)
    assert total.size_bytes == total.num_entries * size_of(entry("a"))
