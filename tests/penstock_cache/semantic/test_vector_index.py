"""The index in memory: whatever the order of changes, it names what the database has."""

import random
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from penstock_cache.prompt_changes import AddedPrompt, PromptChange, RemovedPrompt
from penstock_cache.semantic.graph_files import GraphFiles
from penstock_cache.semantic.vector_index import VectorIndex

DIMENSION = 16


def vector(seed: int) -> NDArray[np.float32]:
    """A vector of its own for each seed."""
    drawn = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return drawn / np.float32(np.linalg.norm(drawn))


class Database:
    """What is stored, with the changes that an index is told."""

    def __init__(self, index: VectorIndex) -> None:
        self.index = index
        self.stored: dict[int, NDArray[np.float32]] = {}
        self.num_reads = 0

    def read(self, scope: int) -> tuple[list[int], NDArray[np.float32]]:
        """As an index reads a scope."""
        self.num_reads += 1
        return list(self.stored), np.array(list(self.stored.values()), np.float32).reshape(-1, DIMENSION)

    def change(self, name: int, *, is_added: bool) -> None:
        """Commits a change and tells the index."""
        change: PromptChange = AddedPrompt(1, name, vector(name)) if is_added else RemovedPrompt(1, name)
        self.stored.pop(name, None)
        if isinstance(change, AddedPrompt):
            self.stored[name] = change.vector
        self.index.apply([change])

    def nearest(self, query: NDArray[np.float32], limit: int) -> list[int]:
        """What an exact search finds."""
        return sorted(self.stored, key=lambda name: -float(self.stored[name] @ query))[:limit]

    def search(self, query: NDArray[np.float32], limit: int) -> list[int]:
        """What the index finds, compared exactly."""
        found = self.index.search(1, query, limit, self.read)
        return sorted(found, key=lambda name: -float(self.stored[name] @ query))[:limit]


def wait_for_graphs(index: VectorIndex) -> None:
    """Until nothing is being made or saved."""
    index._makers.submit(lambda: None).result()


@pytest.mark.parametrize("seed", range(5))
def test_any_history_is_searched_like_a_dictionary(tmp_path: Path, seed: int) -> None:
    """While vectors are few, while their graph is made, and after; the scope empties and fills on the way."""
    index = VectorIndex(GraphFiles(tmp_path / "db"), min_graph_size=40)
    database, randomness = Database(index), random.Random(seed)
    for step in range(400):
        growth = 0.9 if step % 200 < 120 else 0.1
        name = randomness.choice(list(database.stored)) if database.stored and randomness.random() > growth else step
        database.change(name, is_added=name not in database.stored)
        query = vector(-step + 10_000)
        assert database.search(query, 3) == database.nearest(query, 3)
    index.close()


def test_a_scope_is_read_once_and_changes_meanwhile_are_not_lost() -> None:
    """The write of one request is committed while another's search reads the scope."""
    index = VectorIndex()
    database = Database(index)
    database.change(1, is_added=True)
    database.change(2, is_added=True)

    def read_slowly(scope: int) -> tuple[list[int], NDArray[np.float32]]:
        snapshot = database.read(scope)
        database.change(3, is_added=True)
        database.change(1, is_added=False)
        return snapshot

    assert sorted(index.search(1, vector(1), 8, read_slowly)) == [2, 3]
    assert sorted(index.search(1, vector(1), 8, database.read)) == [2, 3]
    assert database.num_reads == 1


def test_a_scope_that_cannot_be_read_is_read_again_by_the_next_search() -> None:
    """A busy database must not leave a scope unreadable for good."""
    index = VectorIndex()
    database = Database(index)
    database.change(1, is_added=True)

    def fail(_: int) -> tuple[list[int], NDArray[np.float32]]:
        raise OSError("busy")

    with pytest.raises(OSError, match="busy"):
        index.search(1, vector(1), 8, fail)
    assert database.search(vector(1), 8) == [1]


def test_a_large_scope_gets_a_graph_that_outlives_the_process(tmp_path: Path) -> None:
    """The next start adds what is missing instead of making all of it again."""
    index = VectorIndex(GraphFiles(tmp_path / "db"), min_graph_size=50)
    database = Database(index)
    for name in range(60):
        database.change(name, is_added=True)
    database.search(vector(1), 8)
    wait_for_graphs(index)
    assert repr(index) == "VectorIndex(scopes=1, graphs=1, vectors=60)"
    index.close()
    database.index = next_index = VectorIndex(GraphFiles(tmp_path / "db"), min_graph_size=50)
    database.change(0, is_added=False)
    database.change(100, is_added=True)
    assert database.search(vector(100), 8) == database.nearest(vector(100), 8)
    wait_for_graphs(next_index)
    graph = next_index._scopes[1].graph
    assert graph is not None
    assert sorted(graph.names()) == [*range(1, 60), 100]
    assert graph.num_changes == 0  # it was saved, with what was missing
    assert database.search(vector(100), 8) == database.nearest(vector(100), 8)
    next_index.close()


def test_searches_are_exact_while_a_graph_is_made(tmp_path: Path) -> None:
    """A rebuild takes a minute for a hundred thousand vectors; nobody waits for it."""
    may_go_on = threading.Event()

    class SlowFiles(GraphFiles):
        def load(self, scope: int, dimension: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
            may_go_on.wait(60)
            return super().load(scope, dimension)

    index = VectorIndex(SlowFiles(tmp_path / "db"), min_graph_size=20)
    database = Database(index)
    for name in range(20):
        database.change(name, is_added=True)
    assert index.search(1, vector(1), 8, database.read) == database.nearest(vector(1), 8)
    database.change(20, is_added=True)
    assert index.search(1, vector(20), 8, database.read) == database.nearest(vector(20), 8)
    may_go_on.set()
    wait_for_graphs(index)
    assert repr(index) == "VectorIndex(scopes=1, graphs=1, vectors=21)"
    assert database.search(vector(20), 8) == database.nearest(vector(20), 8)
    index.close()
