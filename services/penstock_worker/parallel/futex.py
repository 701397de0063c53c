"""Linux' futex: a process sleeps on a number in shared memory until another one says that it has changed it.

Python has no call for it. See futex(2).
"""

import ctypes
import errno

_WAIT, _WAKE = 0, 1
_SYSTEM_CALL = 202  # x86-64, as `wiring.choose_kind` demands
_EVERYBODY = 2**31 - 1
_EXPECTED_ERRORS = (errno.EAGAIN, errno.ETIMEDOUT, errno.EINTR)

_libc = ctypes.CDLL(None, use_errno=True)


class _Duration(ctypes.Structure):
    """`struct timespec`."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def wait(address: int, expected: int, limit_s: float) -> None:
    """Sleeps while the 32-bit number at `address` is `expected`: until woken, or for so long. Releases the interpreter.

    Raises:
        OSError: the address is not ours.
    """
    seconds = int(limit_s)
    limit = _Duration(seconds, int((limit_s - seconds) * 1e9))
    _call(address, _WAIT, expected & 0xFFFFFFFF, ctypes.byref(limit))


def wake(address: int) -> None:
    """Wakes whoever sleeps on the number at `address`."""
    _call(address, _WAKE, _EVERYBODY, None)


def _call(address: int, operation: int, value: int, limit: object) -> None:
    arguments = (ctypes.c_void_p(address), operation, ctypes.c_uint32(value), limit, None, 0)
    if _libc.syscall(_SYSTEM_CALL, *arguments) < 0 and ctypes.get_errno() not in _EXPECTED_ERRORS:
        number = ctypes.get_errno()
        raise OSError(number, errno.errorcode.get(number, "?"))
