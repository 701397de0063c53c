"""What the mask process keeps of sequences, and how it answers what goes wrong."""

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest
from fakes.word_checkpoints import EOS_TOKEN_ID, VOCAB_SIZE
from llguidance import LLTokenizer
from tokenizers import Tokenizer

from penstock_worker.constraints import matching
from penstock_worker.constraints.matching import GrammarCache
from penstock_worker.constraints.process import MaskServer
from penstock_worker.constraints.wire import MaskState, Reply, advance_request, close_request, open_request

PATIENCE_S = 60.0


class Replies(SimpleQueue[Reply]):
    """In place of a writer: what was answered, in order."""

    def put_last(self, reply: Reply) -> None:
        """No request of these tests takes too long."""
        raise AssertionError(reply)


@pytest.fixture
def replies() -> Replies:
    """Of the server."""
    return Replies()


@pytest.fixture
def server(ll_tokenizer: LLTokenizer, replies: Replies) -> MaskServer:
    """Its threads wait for requests until the tests end."""
    options: dict[str, Any] = {"vocab_size": VOCAB_SIZE, "eos_token_ids": [EOS_TOKEN_ID], "max_advance_s": 60.0}
    writer: Any = replies  # by its shape
    made = MaskServer(GrammarCache(ll_tokenizer, 8), writer, max_open_s=60.0, **options)
    made.start()
    return made


def test_sequence_that_fails_or_is_closed_leaves_nothing(
    server: MaskServer, replies: Replies, tokenizer: Tokenizer
) -> None:
    """The process runs for weeks: what it kept of each failure would fill its memory."""
    letters = tokenizer.encode("ab").ids
    server.take(open_request(1, "regex", ("[0-9]{4}",), []))
    assert replies.get(timeout=PATIENCE_S).state is MaskState.READY
    server.take(advance_request(1, letters, []))
    assert replies.get(timeout=PATIENCE_S).state is MaskState.FAILED
    server.take(open_request(2, "regex", ("(",), []))
    assert replies.get(timeout=PATIENCE_S).state is MaskState.FAILED
    server.take(close_request(2))
    server.take(close_request(3))
    assert (server._matchers, server._opening) == ({}, set())


@pytest.mark.parametrize("error", [MemoryError(), BaseException("panicked")])
def test_whatever_goes_wrong_fails_its_sequence_and_the_next_one_is_answered(
    server: MaskServer, replies: Replies, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """A panic of llguidance is no Exception. It must not end the threads: a few serve all."""
    with monkeypatch.context() as broken:
        broken.setattr(matching, "make_matcher", _raiser(error))
        for key in range(4):  # more than there are threads
            server.take(open_request(key, "regex", ("a",), []))
            assert replies.get(timeout=5).state is MaskState.FAILED
    server.take(open_request(9, "regex", ("a",), []))
    assert replies.get(timeout=PATIENCE_S).state is MaskState.READY


def _raiser(error: BaseException) -> Callable[..., None]:
    def fail(*_arguments: object) -> None:
        raise error

    return fail
