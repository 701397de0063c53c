"""Unread output is merged and bounded, and the end is told once."""

import asyncio

import pytest

from penstock_gateway.answer_buffer import AnswerBuffer
from penstock_gateway.events import Delta, Finished, FinishReason, PromptLogprobs, TokenLogprobs
from penstock_shared.errors import InternalError


class Overflow:
    """Counts the calls."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """Counts."""
        self.count += 1


def buffer(*, is_streaming: bool = True, max_bytes: int = 1000, on_overflow: Overflow | None = None) -> AnswerBuffer:
    """A fresh one."""
    return AnswerBuffer(is_streaming=is_streaming, max_bytes=max_bytes, on_overflow=on_overflow or Overflow())


def delta(text: str, choice: int = 0) -> Delta:
    """Its token ids are the characters'."""
    return Delta(choice, text, [ord(char) for char in text], [])


async def test_unread_deltas_of_a_choice_are_merged() -> None:
    """Under pressure a message carries several tokens, else one."""
    unread = buffer()
    for event in (delta("a"), delta("x", 1), delta("b"), delta("y", 1)):
        unread.put(event)
    first, second = await unread.next_events()
    assert (first, second) == (Delta(0, "ab", [97, 98], []), Delta(1, "xy", [120, 121], []))
    unread.put(delta("c"))
    assert await unread.next_events() == [delta("c")]


async def test_a_waiting_reader_is_woken_by_the_first_event() -> None:
    """The first token goes out at once."""
    unread = buffer()
    reading = asyncio.ensure_future(unread.next_events())
    await asyncio.sleep(0)
    assert not reading.done()
    unread.put(delta("a"))
    assert await reading == [delta("a")]


async def test_a_collecting_reader_is_woken_by_the_end_only() -> None:
    """A unary answer costs one wake-up."""
    unread = buffer(is_streaming=False)
    reading = asyncio.ensure_future(unread.next_events())
    await asyncio.sleep(0)
    unread.put(delta("a"))
    unread.put(delta("b"))
    await asyncio.sleep(0)
    assert not reading.done()
    finished = Finished(0, FinishReason.STOP)
    unread.put(finished)
    unread.close()
    assert await reading == [delta("ab"), finished]


async def test_the_end_comes_after_what_was_put_before() -> None:
    """Nothing that was generated is lost by a quick end."""
    unread = buffer()
    unread.put(delta("a"))
    unread.close()
    unread.put(delta("late"))
    assert await unread.next_events() == [delta("a")]
    assert await unread.next_events() == []


async def test_a_stream_gets_the_events_before_an_error_and_a_collector_only_the_error() -> None:
    """Half an answer in one message would look like a whole one."""
    for is_streaming in (True, False):
        unread = buffer(is_streaming=is_streaming)
        unread.put(delta("a"))
        unread.close(InternalError("first"))
        unread.close(InternalError("second"))
        if is_streaming:
            assert await unread.next_events() == [delta("a")]
        with pytest.raises(InternalError, match="first"):
            await unread.next_events()


async def test_too_much_unread_output_is_an_overflow() -> None:
    """Text and token ids count; what was read does not."""
    overflow = Overflow()
    unread = buffer(max_bytes=100, on_overflow=overflow)
    for _ in range(3):
        unread.put(delta("x" * 20))
        await unread.next_events()
    assert overflow.count == 0
    unread.put(delta("x" * 20))
    unread.put(delta("x"))
    assert overflow.count == 1


async def test_scores_of_a_long_prompt_are_no_overflow_of_a_stream() -> None:
    """A step gives thousands at once. Who reads none of them is late all the same, and a whole answer has its bound."""
    scores = PromptLogprobs((TokenLogprobs(1, -1.0, ((2, -2.0),)),) * 10)
    for is_streaming, expected in ((True, [0, 0, 1]), (False, [1, 2, 3])):
        overflow = Overflow()
        unread = buffer(is_streaming=is_streaming, max_bytes=100, on_overflow=overflow)
        counts = []
        for event in (scores, delta("x"), scores):
            unread.put(event)
            counts.append(overflow.count)
        assert counts == expected


async def test_what_there_was_before_a_stream_came_is_no_overflow() -> None:
    """It had no chance to read it; what comes after that counts as ever."""
    overflow = Overflow()
    unread = buffer(max_bytes=100, on_overflow=overflow)
    reading = asyncio.ensure_future(unread.next_events())
    await asyncio.sleep(0)
    unread.put_earlier([delta("x" * 200)])
    unread.put(delta("y" * 20))
    assert overflow.count == 0
    assert await reading == [delta("x" * 200 + "y" * 20)]
    unread.put(delta("x" * 21))
    assert overflow.count == 1


async def test_what_there_was_before_counts_for_a_whole_answer() -> None:
    """It must fit into one message with the rest."""
    overflow = Overflow()
    unread = buffer(is_streaming=False, max_bytes=100, on_overflow=overflow)
    unread.put_earlier([delta("x" * 20)])
    unread.put(delta("x"))
    assert overflow.count == 1
