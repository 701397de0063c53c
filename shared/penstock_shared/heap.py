"""The allocator of this process."""

import ctypes
import sys

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1 << 20


def return_large_blocks() -> None:
    """Has glibc give blocks of a megabyte and more back to the system as soon as they are free.

    By itself it takes the largest block that it ever gave back as the bound from there on, up to 32 MB, and keeps
    what is smaller: a process that once received a few large messages then stays hundreds of megabytes large.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:  # musl has none, and needs none
            mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
