"""Postgres: what is particular to a server that several instances share, and that may be gone for a while."""

import asyncio
from collections.abc import Callable, Iterator

import psycopg
import pytest
from fakes.cache_entries import entry, found, near, semantic
from fakes.clock import FakeClock
from fakes.postgres_server import PostgresServer, running_postgres

from penstock_cache.database_store import DatabaseStore
from penstock_cache.decision.label import Label
from penstock_cache.entries import SelectBy, Selector
from penstock_cache.postgres.database import PostgresDatabase
from penstock_cache.postgres.schema import VERSION
from penstock_cache.statements import size_of
from penstock_shared.errors import FailedPreconditionError, UnavailableError

OpenInstance = Callable[..., DatabaseStore]


@pytest.fixture
def open_instance(clock: FakeClock) -> Iterator[OpenInstance]:
    """Opens instances over one server."""
    opened = []

    def open_it(server: PostgresServer, *, max_bytes: int = 1 << 20) -> DatabaseStore:
        database = PostgresDatabase(server.url, num_readers=2, max_writes=64)
        opened.append(DatabaseStore(database, max_bytes=max_bytes, max_pending=64, wall_clock=clock))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


async def test_what_one_instance_puts_another_finds_at_once(
    open_instance: OpenInstance, empty_postgres: PostgresServer
) -> None:
    """Gateways ask any instance: by key, by meaning, and what was learned."""
    one, other = open_instance(empty_postgres), open_instance(empty_postgres)
    label = Label("c", 1.0, is_correct=True, propensity=0.5, time_s=1000.0)
    await one.put(entry("a", semantic=semantic("a", [1, 0])))
    await one.add_label("acme", "m", label)
    assert await found(other, "a") == "a"
    assert await near(other, [1, 0]) == ["a"]
    assert [each.label for each in await other.labels("acme", "m")] == [label]
    await other.invalidate("acme", Selector(SelectBy.ALL))
    assert await found(one, "a") is None
    assert await near(one, [1, 0]) == []


async def test_instances_that_write_at_once_keep_one_budget_and_lose_nothing(
    open_instance: OpenInstance, empty_postgres: PostgresServer
) -> None:
    """The same keys from both, more than fits: no deadlock, each key once, the counts true."""
    stores = [open_instance(empty_postgres, max_bytes=8 * size_of(entry("00"))) for _ in range(2)]
    puts = [
        store.put(entry(f"{number:02}", tenant=tenant))
        for number in range(12)
        for tenant in ("acme", "other")
        for store in stores
    ]
    assert None not in await asyncio.gather(*puts)
    total = await stores[0].totals("")
    assert (total.num_entries, total.size_bytes) == (8, 8 * size_of(entry("00")))
    with psycopg.connect(empty_postgres.url) as connection:
        assert connection.execute("SELECT count(*) FROM penstock_cache.entries").fetchone() == (8,)


async def test_a_large_scope_gets_an_index_of_its_own_and_loses_it_with_its_prompts(
    clock: FakeClock, empty_postgres: PostgresServer
) -> None:
    """Comparing all takes longer than a lookup may; an index over all scopes would find those of others first."""
    database = PostgresDatabase(empty_postgres.url, num_readers=1, max_writes=64, min_index_size=30)
    store = DatabaseStore(database, max_bytes=1 << 20, max_pending=64, wall_clock=clock)
    puts = [entry(f"{number}", semantic=semantic(f"{number}", [1, number])) for number in range(40)]
    puts += [entry(f"{number}", tenant="other", semantic=semantic("other", [1, 0])) for number in range(20)]
    await asyncio.gather(*(store.put(each) for each in puts))
    database._index()
    (index,) = indexes(empty_postgres)
    assert index.startswith("prompts_near_")
    assert await near(store, [1, 0], limit=5) == ["0", "1", "2", "3", "4"]
    await store.put(entry("new", semantic=semantic("new", [1, 0.5])))
    assert await near(store, [1, 0], limit=3) == ["0", "new", "1"]
    await store.invalidate("acme", Selector(SelectBy.ALL))
    database._index()
    assert indexes(empty_postgres) == []
    store.close()


def indexes(server: PostgresServer) -> list[str]:
    """Names of the indexes over vectors."""
    with psycopg.connect(server.url) as connection:
        rows = connection.execute("SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%USING hnsw%'").fetchall()
    return [name for (name,) in rows]


async def test_a_server_that_stops_is_unavailable_and_found_again_when_it_is_back(open_instance: OpenInstance) -> None:
    """The gateway goes on without the cache meanwhile, and nobody has to restart anything."""
    with running_postgres() as server:
        store = open_instance(server)
        await store.put(entry("a", semantic=semantic("a", [1, 0])))
        assert (await found(store, "a"), await near(store, [1, 0])) == ("a", ["a"])
        server.stop()
        for _ in range(2):
            for call in (store.put(entry("b")), found(store, "a"), near(store, [1, 0]), store.sweep()):
                with pytest.raises(UnavailableError):
                    await call
        server.start()
        assert (await found(store, "a"), await near(store, [1, 0])) == ("a", ["a"])
        assert await store.put(entry("b")) is not None
        server.stop()
        server.start()  # connections that broke while nobody asked are no reason to fail a call
        assert await store.put(entry("c")) is not None
        assert [await found(store, name) for name in "abc"] == ["a", "b", "c"]
        assert await near(store, [1, 0]) == ["a"]
        store.close()


def test_tables_of_a_newer_version_are_refused_and_left_alone(
    open_instance: OpenInstance, empty_postgres: PostgresServer
) -> None:
    """An instance that is updated last must not write what it does not know."""
    open_instance(empty_postgres)
    with psycopg.connect(empty_postgres.url) as connection:
        connection.execute("UPDATE penstock_cache.schema_version SET version = version + 1")
    with pytest.raises(FailedPreconditionError, match=f"schema {VERSION + 1} and this version knows {VERSION}"):
        open_instance(empty_postgres)


def test_a_server_that_is_not_there_is_said_at_the_start(open_instance: OpenInstance) -> None:
    """With the reason, and without a password."""
    with pytest.raises(UnavailableError, match="cannot use the cache's Postgres") as caught:
        PostgresDatabase("postgresql://me:secret@127.0.0.1:1/none", num_readers=1, max_writes=1)
    assert "secret" not in str(caught.value)
