"""Ends what a task is waiting for, whatever that is: at the deadline, or when told."""

import asyncio
from types import TracebackType
from typing import Self

from penstock_shared.deadlines import Deadline
from penstock_shared.errors import DeadlineExceededError, PenstockError


class Interruption:
    """An `async with` block that raises at its deadline (`DeadlineExceededError`) or when `interrupt` is called."""

    def __init__(self, deadline: Deadline) -> None:
        self._timeout = asyncio.timeout(deadline.remaining_s())
        self._error: PenstockError | None = None

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError:
            raise self._error or DeadlineExceededError("the deadline passed") from None

    def interrupt(self, error: PenstockError) -> None:
        """Raises `error` in the block, even where it waits for a peer that does not read."""
        if self._error is None and not self._timeout.expired():
            self._error = error
            self._timeout.reschedule(asyncio.get_running_loop().time())
