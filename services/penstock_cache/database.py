"""What the store needs of a database: its statements run somewhere, off the event loop."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from penstock_cache.connection import Connection
from penstock_cache.entries import Neighbour, PromptScope
from penstock_cache.prompt_changes import PromptChange

T = TypeVar("T")


class Database(Protocol):
    """Runs reads beside each other and writes one after the other, each write whole or not at all."""

    @property
    def error(self) -> type[Exception]:
        """The root of what the database's own library raises."""

    def read(self, read: Callable[[Connection], T]) -> Future[T]:
        """Has `read` run on a connection that cannot write."""

    def write(self, write: Callable[[Connection], T], changes: Sequence[PromptChange]) -> Future[T]:
        """Has `write` run in a transaction; the future is done when that is on disk.

        `changes` is filled by it, and followed by the search before the future is done.

        Raises:
            queue.Full: too many wait.
        """

    def neighbours(
        self, scope: PromptScope, vector: NDArray[np.float32], limit: int, now_s: float
    ) -> Future[list[Neighbour]]:
        """The nearest prompts of a scope whose answers have not expired, nearest first."""

    def tidy(self) -> None:
        """Has done what makes searches quick. Nobody waits for it."""

    def close(self) -> None:
        """Finishes the writes that wait."""
