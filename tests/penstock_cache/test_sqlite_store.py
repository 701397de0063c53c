"""The store: what is kept, for whom, how long, and what goes first."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_cache.entries import ExactKey, NewEntry, SelectBy, Selector
from penstock_cache.sqlite_store import SqliteStore
from penstock_cache.statements import size_of
from penstock_shared.errors import ResourceExhaustedError, UnavailableError

OpenStore = Callable[..., SqliteStore]


def key(name: str, tenant: str = "acme") -> ExactKey:
    """A key of its own for each name."""
    return ExactKey(tenant, name.encode().ljust(32))


def entry(
    name: str, *, tenant: str = "acme", ttl_s: float = 100.0, tags: tuple[str, ...] = (), revision: str = "r1"
) -> NewEntry:
    """An entry of 1512 bytes and its tags, whose answer names it."""
    return NewEntry(key(name, tenant), revision, name.encode().ljust(1000), ttl_s, tags)


async def found(store: SqliteStore, name: str, tenant: str = "acme") -> str | None:
    """The name in the answer that a lookup gives."""
    stored = await store.lookup(key(name, tenant))
    return None if stored is None else stored.answer.decode().strip()


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


async def test_calls_over_the_bound_are_refused_at_once(open_store: OpenStore) -> None:
    """The gateway goes on without the cache; a queue would only add its own wait."""
    store = open_store(max_pending=4)
    calls = await asyncio.gather(*(store.lookup(key("a")) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(call, ResourceExhaustedError) for call in calls) == 6
    assert await store.lookup(key("a")) is None
    assert repr(store) == "SqliteStore(cache.db, pending=0/4)"


async def test_a_lookup_does_not_wait_for_a_writer(open_store: OpenStore, tmp_path: Path) -> None:
    """Another process, or a long batch, holds the write lock while requests come."""
    store = open_store()
    await store.put(entry("a"))
    other = sqlite3.connect(tmp_path / "cache.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM entries")
    try:
        assert await found(store, "a") == "a"
    finally:
        other.execute("ROLLBACK")
        other.close()


async def test_a_store_whose_tables_are_gone_is_unavailable(open_store: OpenStore, tmp_path: Path) -> None:
    """The caller gets an error of the contract, whatever SQLite says, and the writer lives on."""
    store = open_store()
    other = sqlite3.connect(tmp_path / "cache.db")
    other.execute("ALTER TABLE entries RENAME TO elsewhere")
    for call in (store.put(entry("a")), store.lookup(key("a")), store.sweep()):
        with pytest.raises(UnavailableError):
            await call
    other.execute("ALTER TABLE elsewhere RENAME TO entries")
    other.close()
    await store.put(entry("a"))
    assert await found(store, "a") == "a"


_NAMES = st.sampled_from("abcdef")
_TENANTS = st.sampled_from(["acme", "other"])
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), _NAMES, _TENANTS),
        st.tuples(st.just("get"), _NAMES, _TENANTS),
        st.tuples(st.just("clear"), _NAMES, _TENANTS),
        st.tuples(st.just("wait"), _NAMES, _TENANTS),
    ),
    max_size=30,
)


@settings(max_examples=30)
@given(steps=_STEPS)
def test_any_history_agrees_with_a_dictionary(steps: list[tuple[str, str, str]]) -> None:
    """The counts stay true and the budget holds, and recency decides, whatever the order of calls."""
    asyncio.run(_replay(steps))


async def _replay(steps: list[tuple[str, str, str]]) -> None:
    clock = FakeClock(1000.0)
    expected: dict[tuple[str, str], float] = {}  # in the order of use; the value is the end of its life
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(
            Path(directory) / "cache.db",
            max_bytes=4 * size_of(entry("a")),
            num_readers=1,
            max_pending=8,
            wall_clock=clock,
        )
        for step, name, tenant in steps:
            clock.advance(1)
            await _take(store, expected, clock, (step, name, tenant))
            stored = await store.totals("")
            assert stored.num_entries == len(expected)
            assert stored.size_bytes == len(expected) * size_of(entry("a"))
        store.close()


async def _take(
    store: SqliteStore, expected: dict[tuple[str, str], float], clock: FakeClock, call: tuple[str, str, str]
) -> None:
    step, name, tenant = call
    if step == "put":
        await store.put(entry(name, tenant=tenant, ttl_s=10))
        expected.pop((tenant, name), None)
        expected[tenant, name] = clock() + 10
        if len(expected) > 4:
            del expected[next(iter(expected))]
    elif step == "get":
        is_alive = expected.get((tenant, name), 0) > clock()
        assert (await found(store, name, tenant) is not None) == is_alive
        if is_alive:
            expected[tenant, name] = expected.pop((tenant, name))
    elif step == "clear":
        await store.invalidate(tenant, Selector(SelectBy.ALL))
        for gone in [each for each in expected if each[0] == tenant]:
            del expected[gone]
    else:
        clock.advance(3)
        await store.sweep()
        for gone in [each for each, end_s in expected.items() if end_s <= clock()]:
            del expected[gone]
