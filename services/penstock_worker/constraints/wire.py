"""What a replica and its mask process say to each other.

Requests are JSON frames (`penstock_shared.frames`). Replies carry masks and are packed: a header, the masks one after
the other, and a message in UTF-8.
"""

import enum
import struct
from collections.abc import Iterator
from typing import NamedTuple

from penstock_shared.frames import Frame

GREETING_KEY = 2**64 - 1  # of the reply that says that the process is ready
_HEADER = struct.Struct("<IQBI")  # bytes that follow, key, state, bytes of the masks


class MaskState(enum.IntEnum):
    """How far the mask of a sequence's next token is."""

    PENDING = 0
    """It is being computed, or the grammar compiled."""
    READY = 1
    """It is there."""
    COMPLETE = 2
    """The grammar is fulfilled and cannot go on: the sequence can only stop."""
    FAILED = 3
    """The constraint, or what came of it, cannot go on."""
    FATAL = 4
    """The same, and the process ends itself for it."""


class Reply(NamedTuple):
    """The answer to one request.

    Attributes:
        key: the sequence.
        state: never PENDING.
        masks: of the next token, then of those after each drafted token, as far as the grammar follows the draft; one
            bit a token id, the lowest first, in whole bytes. Empty unless READY.
        message: what is wrong, where it is FAILED.
    """

    key: int
    state: MaskState
    masks: bytes = b""
    message: str = ""


def open_request(key: int, kind: str, texts: tuple[str, ...], token_ids: list[int]) -> Frame:
    """A sequence begins, with the output that it has so far."""
    return {"do": "open", "key": key, "kind": kind, "texts": texts, "token_ids": token_ids}


def advance_request(key: int, token_ids: list[int], drafted: list[int]) -> Frame:
    """Tokens were chosen; after them, masks are wanted also along a draft, which changes nothing."""
    return {"do": "advance", "key": key, "token_ids": token_ids, "drafted": drafted}


def close_request(key: int) -> Frame:
    """A sequence is over. Has no reply."""
    return {"do": "close", "key": key}


def pack_reply(reply: Reply) -> bytes:
    """A reply for the way."""
    message = reply.message.encode()
    body_bytes = _HEADER.size - 4 + len(reply.masks) + len(message)
    return _HEADER.pack(body_bytes, reply.key, reply.state, len(reply.masks)) + reply.masks + message


def unpack_replies(received: bytearray) -> Iterator[Reply]:
    """The whole replies at the beginning of `received`, which are taken out of it."""
    while len(received) >= _HEADER.size:
        body_bytes, key, state, mask_bytes = _HEADER.unpack_from(received)
        end = 4 + body_bytes
        if len(received) < end:
            return
        masks_end = _HEADER.size + mask_bytes
        masks, message = bytes(received[_HEADER.size : masks_end]), received[masks_end:end].decode()
        del received[:end]
        yield Reply(key, MaskState(state), masks, message)
