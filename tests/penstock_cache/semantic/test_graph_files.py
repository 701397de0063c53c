"""Saved graphs: trusted only when every byte is as it was written."""

from pathlib import Path

import numpy as np
import pytest

from penstock_cache.semantic.graph_files import GraphFiles
from penstock_cache.semantic.graph_vectors import GraphVectors


@pytest.fixture
def files(tmp_path: Path) -> GraphFiles:
    """With a graph of three vectors for scope 7."""
    graph = GraphVectors(4)
    graph.add_all([1, 2, 3], np.eye(4, dtype=np.float32)[:3])
    files = GraphFiles(tmp_path / "graphs" / "database")
    files.save(7, 4, graph.content())
    return files


def test_a_graph_comes_back_as_it_was(files: GraphFiles) -> None:
    """Names, vectors and all."""
    graph = files.load(7, 4)
    assert sorted(graph.names()) == [1, 2, 3]
    assert graph.search(np.eye(4, dtype=np.float32)[1], 1)[0] == 2


@pytest.mark.parametrize("place", [0, 30, 60, -1])
def test_a_graph_with_a_damaged_byte_is_not_read(files: GraphFiles, tmp_path: Path, place: int) -> None:
    """Head, digest or content: what it says would be wrong, or end the process."""
    (path,) = tmp_path.rglob("*.graph")
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert len(files.load(7, 4)) == 0


@pytest.mark.parametrize("size", [0, 10, 49, 100])
def test_a_graph_cut_short_is_not_read(files: GraphFiles, tmp_path: Path, size: int) -> None:
    """The disk was full."""
    (path,) = tmp_path.rglob("*.graph")
    path.write_bytes(path.read_bytes()[:size])
    assert len(files.load(7, 4)) == 0


def test_a_graph_of_another_scope_or_dimension_is_not_read(files: GraphFiles, tmp_path: Path) -> None:
    """A file that was copied or renamed is not believed."""
    (path,) = tmp_path.rglob("*.graph")
    path.with_name("8.graph").write_bytes(path.read_bytes())
    assert len(files.load(8, 4)) == 0
    assert len(files.load(7, 8)) == 0


def test_files_of_scopes_that_are_gone_and_of_other_databases_go(files: GraphFiles, tmp_path: Path) -> None:
    """They would lie there for ever."""
    GraphFiles(tmp_path / "graphs" / "former").save(7, 4, b"")
    files.save(8, 4, b"")
    (tmp_path / "graphs" / "database" / "7.new").touch()
    files.keep_only({7})
    assert [path.name for path in (tmp_path / "graphs").rglob("*.*")] == ["7.graph"]
    assert [path.name for path in (tmp_path / "graphs").iterdir()] == ["database"]


def test_a_directory_that_cannot_be_made_is_nobodys_error(tmp_path: Path) -> None:
    """Searches go on from memory."""
    (tmp_path / "graphs").touch()
    files = GraphFiles(tmp_path / "graphs" / "database")
    files.save(7, 4, b"")
    assert len(files.load(7, 4)) == 0
