"""What becomes of calls whose callers leave."""

import asyncio

import pytest

from penstock_gateway.text.abandoned_calls import AbandonedCalls


class SlowCall:
    """A call that ends when it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.may_end = asyncio.Event()
        self.has_ended = asyncio.Event()
        self.ending = ""
        self._error = error

    async def run(self) -> str:
        """Waits, and notes how it ended."""
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.ending = "cancelled"
            raise
        self.ending = "done"
        self.has_ended.set()
        if self._error is not None:
            raise self._error
        return "answer"


async def _leave(calls: AbandonedCalls, call: SlowCall) -> None:
    """Waits for the call, and gives up before it has ended."""
    waiting = asyncio.ensure_future(calls.wait_for(call.run()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_result_and_an_error_reach_who_waits() -> None:
    """Nothing changes for a caller who stays."""
    calls, good, bad = AbandonedCalls(1), SlowCall(), SlowCall(ValueError("no"))
    good.may_end.set()
    bad.may_end.set()
    assert await calls.wait_for(good.run()) == "answer"
    with pytest.raises(ValueError, match="no"):
        await calls.wait_for(bad.run())
    assert len(calls) == 0


@pytest.mark.parametrize("error", [None, ValueError("no")])
async def test_an_abandoned_call_ends_by_itself(error: Exception | None) -> None:
    """Cancelling it would leak; its error is nobody's."""
    calls, call = AbandonedCalls(1), SlowCall(error)
    await _leave(calls, call)
    assert (len(calls), call.ending) == (1, "")
    call.may_end.set()
    await call.has_ended.wait()
    await asyncio.sleep(0)
    assert (len(calls), call.ending) == (0, "done")


async def test_what_is_left_beyond_the_limit_is_cancelled() -> None:
    """A slow tokenizer and callers who leave do not pile up work without end."""
    calls, first, second = AbandonedCalls(1), SlowCall(), SlowCall()
    await _leave(calls, first)
    await _leave(calls, second)
    await asyncio.sleep(0)
    assert (len(calls), first.ending, second.ending) == (1, "", "cancelled")
    first.may_end.set()
