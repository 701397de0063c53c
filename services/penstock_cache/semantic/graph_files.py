"""Graphs of one database on disk. They can be made again: what is missing, damaged or not understood is left alone."""

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from penstock_cache.semantic.graph_vectors import GraphVectors
from penstock_shared.logs import get_logger

_MAGIC = b"penstock graph 1\n"


class GraphFiles:
    """Keeps a file for each scope, with a digest before its content: a damaged graph could end the process.

    Args:
        directory: whose parent holds the graphs of nothing but this database and those that were there before it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = get_logger("graphs")

    def load(self, scope: int, dimension: int) -> GraphVectors:
        """The graph of a scope as it was saved; an empty one where there is none to be trusted."""
        try:
            saved = self._read(scope, dimension)
        except OSError as error:
            self._log.warning("an index is not read and made anew", scope=scope, error=str(error))
            saved = None
        return GraphVectors(dimension, saved)

    def save(self, scope: int, dimension: int, content: bytes) -> None:
        """Keeps a graph; a kill in the middle leaves the former one."""
        path = self._path(scope)
        fresh = path.with_suffix(".new")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as file:
                file.write(_MAGIC + _digest(scope, dimension, content) + content)
            fresh.replace(path)
        except OSError as error:
            self._log.warning("an index is not saved", scope=scope, error=str(error))

    def keep_only(self, scopes: Iterable[int]) -> None:
        """Removes files of scopes that are gone, and of other databases."""
        if not self._directory.parent.is_dir():
            return
        for other in self._directory.parent.iterdir():
            if other != self._directory:
                shutil.rmtree(other, ignore_errors=True)
        kept = {self._path(scope) for scope in scopes}
        for path in set(self._directory.glob("*")) - kept:
            path.unlink()

    def _read(self, scope: int, dimension: int) -> bytes | None:
        path = self._path(scope)
        if not path.exists():
            return None
        whole = path.read_bytes()
        begin = len(_MAGIC) + hashlib.sha256().digest_size
        content = whole[begin:]
        if whole[:begin] != _MAGIC + _digest(scope, dimension, content):
            self._log.warning("an index is damaged and made anew", scope=scope)
            return None
        return content

    def _path(self, scope: int) -> Path:
        return self._directory / f"{scope}.graph"


def _digest(scope: int, dimension: int, content: bytes) -> bytes:
    digest = hashlib.sha256(f"{scope} {dimension}\n".encode())
    digest.update(content)
    return digest.digest()
