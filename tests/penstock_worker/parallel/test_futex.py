"""Sleeping on a number that another thread changes."""

import ctypes
import threading
import time

import pytest

from penstock_worker.parallel import futex


@pytest.fixture
def number() -> ctypes.c_uint32:
    """Zero."""
    return ctypes.c_uint32(0)


def test_a_sleeper_is_woken(number: ctypes.c_uint32) -> None:
    """Long before its limit."""
    address = ctypes.addressof(number)
    sleeper = threading.Thread(target=futex.wait, args=(address, 0, 600.0))
    sleeper.start()
    while sleeper.is_alive():  # it may not have gone to sleep when it is first woken
        number.value = 1
        futex.wake(address)
        sleeper.join(0.01)


def test_nobody_sleeps_on_a_number_that_has_changed(number: ctypes.c_uint32) -> None:
    """The change came between looking and going to sleep: nobody would wake the sleeper."""
    begin_s = time.monotonic()
    futex.wait(ctypes.addressof(number), 7, 600.0)
    assert time.monotonic() - begin_s < 60


def test_a_sleeper_whom_nobody_wakes_wakes_at_its_limit(number: ctypes.c_uint32) -> None:
    """Writers may overlook one that has just gone to sleep."""
    begin_s = time.monotonic()
    futex.wait(ctypes.addressof(number), 0, 0.02)
    assert time.monotonic() - begin_s >= 0.02


def test_an_address_of_nobody_is_an_error() -> None:
    """Not an endless sleep."""
    with pytest.raises(OSError, match="EFAULT"):
        futex.wait(4, 0, 600.0)
