"""Another encoder over stored prompts."""

import pytest
from fakes.cache_entries import OpenStore, entry
from fakes.word_encoder import WordEncoder, encoded

from penstock_cache.entries import PromptScope, SemanticPart
from penstock_cache.semantic.reembedding import Reembedding, without_vector
from penstock_cache.store import Store

CONTEXT = bytes(32)


async def near(store: Store, encoder: WordEncoder, text: str) -> list[tuple[str, float]]:
    """What is found for a text with an encoder, and how near it is."""
    scope = PromptScope("acme", CONTEXT, encoder.fingerprint)
    found = await store.neighbours(scope, encoded(text).vector, 8)
    return [(each.prompt.text, round(each.similarity, 3)) for each in found]


async def put(store: Store, text: str, encoder: WordEncoder) -> None:
    """Keeps an answer to a prompt."""
    part = SemanticPart(CONTEXT, encoded(text), encoder.fingerprint, None)
    await store.put(entry(text[:32], semantic=part))


async def test_after_a_change_of_encoder_nothing_is_found_until_it_is_encoded_anew(open_store: OpenStore) -> None:
    """Vectors of two encoders say nothing about each other: to compare them would find wrong answers."""
    store, old, new = open_store(), WordEncoder("words-1"), WordEncoder("words-2")
    for number in range(20):
        await put(store, f"prompt number {number}", old)
    assert await near(store, new, "prompt number 7") == []
    assert await Reembedding(store, new, interval_s=1).replace_all() == 20
    assert (await near(store, new, "prompt number 7"))[0] == ("prompt number 7", 1.0)
    assert await near(store, old, "prompt number 7") == []
    assert await Reembedding(store, new, interval_s=1).replace_all() == 0


async def test_what_the_new_encoder_cannot_read_does_not_wait_for_ever(open_store: OpenStore) -> None:
    """Else it would be tried again and again, and others behind it never."""
    store, encoder = open_store(), WordEncoder("words-2")
    for text in ("unreadable a", "b"):
        await store.put(entry(text, semantic=without_vector(CONTEXT, text, None)))
    assert await near(store, encoder, "b") == []
    assert await Reembedding(store, encoder, interval_s=1).replace_all() == 2
    assert await near(store, encoder, "b") == [("b", 1.0), ("unreadable a", 0.0)]


@pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)
async def test_instances_with_different_encoders_do_not_undo_each_others_work(open_store: OpenStore) -> None:
    """Over one database, as in the middle of a rolling change: the one that began last has its way, and it ends."""
    old, new = (Reembedding(open_store(), WordEncoder(name), interval_s=1) for name in ("words-1", "words-2"))
    store = open_store()
    await put(store, "a", WordEncoder("words-1"))
    assert await rounds(old, new) == [0, 1]
    assert await rounds(old, new) == [0, 0]
    await put(store, "b", WordEncoder("words-1"))  # by the instance that goes on with it
    assert await rounds(old, new) == [0, 1]
    assert await near(store, WordEncoder("words-2"), "b") == [("b", 1.0), ("a", 0.026)]


@pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)
async def test_an_encoder_that_is_replaced_amid_its_work_leaves_it(open_store: OpenStore) -> None:
    """What it has encoded by then must not take back what the new one has done."""
    store, old, new = open_store(), WordEncoder("words-1"), WordEncoder("words-2")
    await store.put(entry("a", semantic=without_vector(CONTEXT, "a", None)))
    (stale,) = await store.stale_prompts(old.fingerprint, 8)
    await store.claim_encoder(new.fingerprint)
    assert await store.replace_prompts(old.fingerprint, [(stale.prompt_id, encoded("a"))]) == 0
    assert await store.stale_prompts(old.fingerprint, 8) == []
    assert await store.stale_prompts(new.fingerprint, 8) == [stale]


async def rounds(*reembeddings: Reembedding) -> list[int]:
    """How many prompts each of some instances encodes anew in a round of all."""
    return [await reembedding.round() for reembedding in reembeddings]
