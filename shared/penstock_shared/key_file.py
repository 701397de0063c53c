"""The file that keeps the API keys: JSON, readable by its owner only, replaced as a whole."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from penstock_shared.api_keys import ApiKey
from penstock_shared.documents import describe_unreadable, parse_document
from penstock_shared.errors import FailedPreconditionError, NotFoundError


class _Document(BaseModel):
    version: Literal[1]
    keys: tuple[ApiKey, ...]


def parse_keys(content: bytes) -> Mapping[str, ApiKey]:
    """The keys of a file's content, by id.

    Raises:
        ValueError: it is no key file of this version.
    """
    return {key.key_id: key for key in parse_document(_Document, content).keys}


class KeyFile:
    """Keys on disk. Several processes may change them at a time; a reader sees the old file or the new one.

    Args:
        path: of the file, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Mapping[str, ApiKey]:
        """All keys, by id; none where there is no file.

        Raises:
            FailedPreconditionError: the file cannot be read.
        """
        try:
            return parse_keys(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise FailedPreconditionError(f"key file {self._path}: {describe_unreadable(error)}") from error

    def add(self, key: ApiKey) -> int:
        """Adds a key, and gives the number of keys there are now."""
        with self._locked():
            keys = {**self.load(), key.key_id: key}
            self._save(keys)
            return len(keys)

    def revoke(self, key_id: str, *, now_s: float) -> ApiKey:
        """Marks a key as revoked, for good. One that is revoked already stays as it is.

        Raises:
            NotFoundError: there is no such key.
        """
        with self._locked():
            keys = dict(self.load())
            if key_id not in keys:
                raise NotFoundError("API key", key_id)
            if keys[key_id].revoked_s is None:
                keys[key_id] = replace(keys[key_id], revoked_s=int(now_s))
                self._save(keys)
            return keys[key_id]

    def _save(self, keys: Mapping[str, ApiKey]) -> None:
        document = _Document(version=1, keys=tuple(keys.values()))
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(document.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among writers. The lock is a file of its own, for the key file is replaced under it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock_file = self._path.with_name(f".{self._path.name}.lock")
        # Nobody else can open it: a lock can be held by whoever may read the file.
        with os.fdopen(os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
