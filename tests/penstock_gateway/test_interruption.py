"""A block ends at its deadline, or when it is told, whatever it waits for."""

import asyncio

import pytest

from penstock_gateway.interruption import Interruption
from penstock_shared.deadlines import Deadline
from penstock_shared.errors import DeadlineExceededError, ResourceExhaustedError

TOO_SLOW = ResourceExhaustedError("too slow", quota="q", retry_after_s=1)


async def test_the_deadline_ends_the_block() -> None:
    """Even one that has passed already."""
    with pytest.raises(DeadlineExceededError):
        async with Interruption(Deadline.after(-1)):
            await asyncio.Event().wait()


async def test_an_interruption_ends_the_block_with_its_error() -> None:
    """The reader of a slow client hangs in a write that will not return."""

    async def wait() -> None:
        async with Interruption(Deadline.after(60)) as interruption:
            interruption.interrupt(TOO_SLOW)
            interruption.interrupt(TOO_SLOW)
            await asyncio.Event().wait()

    with pytest.raises(ResourceExhaustedError, match="too slow"):
        await wait()


async def test_a_cancel_from_outside_stays_a_cancel() -> None:
    """The client went away; that is not our error."""
    entered = asyncio.Event()

    async def wait() -> None:
        async with Interruption(Deadline.after(60)):
            entered.set()
            await asyncio.Event().wait()

    waiting = asyncio.ensure_future(wait())
    await entered.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_an_error_of_the_block_passes() -> None:
    """And so does its success."""
    with pytest.raises(ValueError, match="own"):
        async with Interruption(Deadline.after(60)):
            raise ValueError("own")
    async with Interruption(Deadline.after(60)):
        pass
