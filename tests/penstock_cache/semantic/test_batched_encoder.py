"""Many requests, one pass of the encoder."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes.word_encoder import WordEncoderModel

from penstock_cache.semantic.batched_encoder import BatchedEncoder
from penstock_cache.semantic.encoder import EncoderError, UnreadablePromptError
from penstock_cache.semantic.prompts import EncodedPrompt


class GatedModel(WordEncoderModel):
    """Runs a batch when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.gate = threading.Semaphore(0), threading.Semaphore(0)

    def run(self, texts: Sequence[str]) -> list[EncodedPrompt | UnreadablePromptError]:
        """Waits for its turn."""
        self.begun.release()
        assert self.gate.acquire(timeout=10)
        return super().run(texts)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """The encoder's thread."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def busy(encoder: BatchedEncoder, model: GatedModel) -> "asyncio.Task[EncodedPrompt]":
    """An encoder whose model is running the text "first"."""
    first = asyncio.create_task(encoder.encode("first"))
    assert await asyncio.to_thread(model.begun.acquire, timeout=10)
    return first


def let(model: GatedModel, times: int = 8) -> None:
    """Lets so many batches run."""
    model.gate.release(times)


async def begin(*calls: "asyncio.Task[EncodedPrompt]") -> None:
    """Lets the calls come to where they wait."""
    await asyncio.sleep(0)


async def test_what_comes_while_the_model_runs_is_one_batch_and_what_is_not_urgent_comes_last(
    executor: ThreadPoolExecutor,
) -> None:
    """One pass for many lookups; comparisons of answers and new vectors for old prompts hold no lookup up."""
    model = GatedModel()
    encoder = BatchedEncoder(model, executor, max_batch=2)
    first = await busy(encoder, model)
    patient = [asyncio.create_task(encoder.encode(text, is_urgent=False)) for text in ("p1", "p2")]
    urgent = [asyncio.create_task(encoder.encode(text)) for text in ("a", "b", "c")]
    await begin(*patient, *urgent)
    let(model)
    results = await asyncio.gather(first, *patient, *urgent)
    assert model.batches == [["first"], ["a", "b"], ["c"], ["p1"], ["p2"]]
    assert [result.text for result in results] == ["first", "p1", "p2", "a", "b", "c"]


async def test_callers_that_have_left_are_not_computed(executor: ThreadPoolExecutor) -> None:
    """A lookup that ran out of time must not cost the next one."""
    model = GatedModel()
    encoder = BatchedEncoder(model, executor)
    first = await busy(encoder, model)
    gone, stays = asyncio.create_task(encoder.encode("gone")), asyncio.create_task(encoder.encode("p", is_urgent=False))
    await begin(gone, stays)
    gone.cancel()
    await begin()
    let(model)
    await asyncio.gather(first, stays)
    assert model.batches == [["first"], ["p"]]


async def test_more_than_may_wait_are_turned_away_at_once(executor: ThreadPoolExecutor) -> None:
    """A bounded queue, whatever the load."""
    model = GatedModel()
    encoder = BatchedEncoder(model, executor, max_waiting=1)
    first = await busy(encoder, model)
    waits = asyncio.create_task(encoder.encode("waits"))
    await begin(waits)
    with pytest.raises(EncoderError, match="too much to do"):
        await encoder.encode("late")
    let(model)
    await asyncio.gather(first, waits)


async def test_one_unreadable_prompt_spoils_nobody_elses(executor: ThreadPoolExecutor) -> None:
    """The boundary between requests of one batch."""
    model = GatedModel()
    encoder = BatchedEncoder(model, executor)
    first = await busy(encoder, model)
    bad, good = asyncio.create_task(encoder.encode("unreadable")), asyncio.create_task(encoder.encode("good"))
    await begin(bad, good)
    let(model)
    await asyncio.gather(first, good)
    with pytest.raises(UnreadablePromptError):
        await bad


async def test_a_model_that_fails_fails_its_batch_and_the_next_one_runs(executor: ThreadPoolExecutor) -> None:
    """The layer goes on without it, and with it as soon as it can."""
    model = WordEncoderModel()
    encoder = BatchedEncoder(model, executor)
    model.failure = RuntimeError("out of memory")
    with pytest.raises(EncoderError, match="the encoder failed"):
        await encoder.encode("a")
    model.failure = None
    assert (await encoder.encode("a")).text == "a"


async def test_a_text_of_megabytes_never_reaches_the_model(executor: ThreadPoolExecutor) -> None:
    """To cut it into tokens alone would hold up everybody behind it."""
    model = WordEncoderModel()
    with pytest.raises(UnreadablePromptError, match="longer than the 10 characters"):
        await BatchedEncoder(model, executor, max_chars=10).encode("x" * 11)
    assert model.batches == []
