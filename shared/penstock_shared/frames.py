"""What a service and its child processes say to each other: JSON objects, each after its length.

JSON and not pickle: what breaks out of its bounds in a child must not be able to run code in the service.
"""

import json
from typing import Any, BinaryIO

LENGTH_BYTES = 4

Frame = dict[str, Any]


def to_frame(content: Frame) -> bytes:
    """`content` with its length before it.

    Raises:
        UnicodeEncodeError: a string holds half a surrogate pair.
    """
    body = json.dumps(content, ensure_ascii=False).encode()
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def frame_length(head: bytes) -> int:
    """The number of bytes after `head`."""
    return int.from_bytes(head, "big")


def read_frame(stream: BinaryIO) -> Frame | None:
    """The next frame, waiting for it; None at the end of the stream."""
    head = stream.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    content: Frame = json.loads(stream.read(frame_length(head)))
    return content
