"""Work off the event loop, bounded."""

import asyncio
import threading

import pytest

from penstock_shared.errors import ResourceExhaustedError
from penstock_tokenizer.cpu_pool import CpuPool

LARGE = 100_000


async def test_the_event_loop_runs_on_meanwhile() -> None:
    """A large batch must not delay anybody's health check."""
    pool = CpuPool(num_threads=1, max_pending=1)
    may_end = threading.Event()
    work = asyncio.create_task(pool.run(may_end.wait, num_bytes=LARGE))
    await asyncio.sleep(0)
    assert not work.done()
    may_end.set()
    assert await work
    pool.close()


async def test_more_than_the_bound_is_refused_at_once_and_room_comes_back() -> None:
    """The caller can go to another instance, and come back later."""
    pool = CpuPool(num_threads=1, max_pending=2)
    may_end = threading.Event()
    pending = [asyncio.create_task(pool.run(may_end.wait, num_bytes=LARGE)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhaustedError) as caught:
        await pool.run(lambda: None, num_bytes=LARGE)
    assert caught.value.retry_after_s
    may_end.set()
    await asyncio.gather(*pending)
    assert await pool.run(lambda: 3, num_bytes=LARGE) == 3
    pool.close()


async def test_work_of_a_cancelled_caller_is_dropped_before_it_begins() -> None:
    """Callers that time out under overload must not leave their work behind."""
    pool = CpuPool(num_threads=1, max_pending=8)
    may_end, has_run = threading.Event(), threading.Event()
    running = asyncio.create_task(pool.run(may_end.wait, num_bytes=LARGE))
    dropped = asyncio.create_task(pool.run(has_run.set, num_bytes=LARGE))
    await asyncio.sleep(0)
    dropped.cancel()
    await asyncio.gather(dropped, return_exceptions=True)
    may_end.set()
    await running
    await pool.run(lambda: None, num_bytes=LARGE)
    assert not has_run.is_set()
    pool.close()


async def test_errors_of_the_work_reach_the_caller() -> None:
    """They carry which field is wrong."""
    pool = CpuPool(num_threads=1, max_pending=1)
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 / 0, num_bytes=LARGE)
    pool.close()


async def test_a_little_work_is_done_at_once() -> None:
    """Waking a thread costs more than encoding a line, and a full pool is no reason to refuse one."""
    pool = CpuPool(num_threads=1, max_pending=1)
    may_end = threading.Event()
    running = asyncio.create_task(pool.run(may_end.wait, num_bytes=LARGE))
    await asyncio.sleep(0)
    assert await pool.run(threading.get_ident, num_bytes=100) == threading.get_ident()
    may_end.set()
    await running
    pool.close()
