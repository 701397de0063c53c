"""Replies on their way, in whatever pieces they arrive."""

from penstock_worker.constraints.wire import MaskState, Reply, pack_reply, unpack_replies

REPLIES = [
    Reply(1, MaskState.READY, b"\x01\xff\x00"),
    Reply(2**64 - 1, MaskState.COMPLETE),
    Reply(3, MaskState.FAILED, message="größer"),
]


def test_replies_come_out_as_they_went_in_whatever_the_pieces() -> None:
    """A socket cuts where it likes."""
    sent = b"".join(map(pack_reply, REPLIES))
    for size in (1, 5, len(sent)):
        received, found = bytearray(), []
        for start in range(0, len(sent), size):
            received += sent[start : start + size]
            found += unpack_replies(received)
        assert found == REPLIES
        assert received == bytearray()
