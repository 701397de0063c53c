"""The store on one machine: what is particular to a file of SQLite. The contract is tested in test_store.py."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.cache_entries import entry, found, key, near, semantic
from fakes.clock import FakeClock

from penstock_cache.database_store import DatabaseStore
from penstock_cache.semantic.graph_files import GraphFiles
from penstock_cache.sqlite_database import SqliteDatabase
from penstock_shared.errors import ResourceExhaustedError, UnavailableError

OpenStore = Callable[..., DatabaseStore]


async def test_calls_over_the_bound_are_refused_at_once(open_store: OpenStore) -> None:
    """The gateway goes on without the cache; a queue would only add its own wait."""
    store = open_store(max_pending=4)
    calls = await asyncio.gather(*(store.lookup(key("a")) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(call, ResourceExhaustedError) for call in calls) == 6
    assert await store.lookup(key("a")) is None
    assert repr(store) == "DatabaseStore(cache.db, pending=0/4)"


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


async def test_an_index_that_was_damaged_on_disk_is_made_again(tmp_path: Path, clock: FakeClock) -> None:
    """Vectors live in the database, so that nothing is lost, and nothing wrong is found meanwhile."""
    store = open_with_graphs(tmp_path, clock)
    for number in range(30):
        await store.put(entry(f"{number}", semantic=semantic(f"{number}", [1, number])))
    nearest = [f"{number}" for number in range(8)]
    assert await near(store, [1, 0]) == nearest
    wait_for_graphs(store)
    assert repr(store._database._index) == "VectorIndex(scopes=1, graphs=1, vectors=30)"
    store.close()
    size = damage_graph(tmp_path)
    store = open_with_graphs(tmp_path, clock)
    assert await near(store, [1, 0]) == nearest
    wait_for_graphs(store)
    assert repr(store._database._index) == "VectorIndex(scopes=1, graphs=1, vectors=30)"
    assert await near(store, [1, 0]) == nearest
    store.close()
    assert damage_graph(tmp_path) == size  # a whole one was saved in its place


def open_with_graphs(directory: Path, clock: FakeClock) -> DatabaseStore:
    """A store whose scopes get a graph from 20 prompts on."""
    database = SqliteDatabase(
        directory / "cache.db", num_readers=1, max_writes=64, make_graphs=GraphFiles, min_graph_size=20
    )
    return DatabaseStore(database, max_bytes=1 << 20, max_pending=64, wall_clock=clock)


def wait_for_graphs(store: DatabaseStore) -> None:
    """Until nothing is being made or saved."""
    store._database._index._makers.submit(lambda: None).result()


def damage_graph(directory: Path) -> int:
    """Overwrites a part of the one graph file there is, and returns its size."""
    (path,) = directory.rglob("*.graph")
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(100) + content[200:])
    return len(content)
