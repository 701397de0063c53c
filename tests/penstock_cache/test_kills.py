"""The store's process is killed amid writes, again and again. PENSTOCK_TEST_KILLS says how often; 3 by default."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from fakes import busy_store

NUM_KILLS = int(os.environ.get("PENSTOCK_TEST_KILLS", "3"))


def write_until_killed(path: Path, first: int, num_confirmed: int) -> list[int]:
    """Has a process write entries from `first` on, kills it, and returns those that it was told are stored."""
    command = [sys.executable, "-m", "fakes.busy_store", str(path), str(first)]
    environment = os.environ | {"PYTHONPATH": str(Path(busy_store.__file__).parents[1])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        confirmed = [int(process.stdout.readline()) for _ in range(num_confirmed)]
        process.kill()
        confirmed += [int(line) for line in process.stdout if line.endswith("\n")]
    assert process.returncode == -signal.SIGKILL
    return confirmed


def check_database(path: Path) -> None:
    """The file is sound, nothing points to what is not there, and the counts are true."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    counted = connection.execute("SELECT count(*), sum(size_bytes) FROM entries").fetchone()
    assert connection.execute("SELECT num_entries, size_bytes FROM totals").fetchone() == counted
    assert connection.execute("SELECT count(*) FROM prompts").fetchone() == counted[:1]
    connection.close()


async def num_whole(path: Path, numbers: list[int]) -> int:
    """How many of the entries are found as they were put, by key and by meaning."""
    store = busy_store.open_store(path)
    num_found = 0
    for number in numbers:
        stored = await store.lookup(busy_store.key(number))
        (nearest,) = await store.neighbours(busy_store.SCOPE, busy_store.prompt(number).vector, 1)
        num_found += (
            stored is not None
            and stored.answer == busy_store.answer(number)
            and nearest.entry_id == stored.entry_id
            and nearest.prompt.detail == busy_store.prompt(number).detail
        )
    store.close()
    return num_found


def test_kills_amid_writes_lose_nothing_that_was_confirmed_and_tear_nothing(tmp_path: Path) -> None:
    """Whatever was told to be stored is whole afterwards: answer, prompt, and what finds it."""
    path, randomness = tmp_path / "cache.db", random.Random(1)
    confirmed: list[int] = []
    for kill in range(NUM_KILLS):
        fresh = write_until_killed(path, 1_000_000 * kill, randomness.randint(1, 150))
        check_database(path)
        assert asyncio.run(num_whole(path, fresh)) == len(fresh)
        confirmed += fresh
    assert asyncio.run(num_whole(path, confirmed)) == len(confirmed)
