"""Logs tell what happens; they never decide it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
from penstock_shared.logs import configure_logging, get_logger
configure_logging("test", "info", as_json=True)
for number in range(2000):
    get_logger("part").info("line", number=number)
print("done")
"""


def test_line_names_service_and_component() -> None:
    """Lines of many services meet in one place."""
    run = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    first = run.stderr.splitlines()[0]
    assert '"service": "test"' in first
    assert '"component": "part"' in first


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_ends_nobody() -> None:
    """A request must not fail because a line about it cannot be written."""
    with Path("/dev/full").open("w") as full:
        run = subprocess.run([sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, stderr=full, check=True)
    assert run.stdout == b"done\n"


def test_reader_that_is_gone_ends_nobody() -> None:
    """`penstock up 2>&1 | head` must not end the stack."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    run = subprocess.run([sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, stderr=write_end, check=True)
    os.close(write_end)
    assert run.stdout == b"done\n"
