"""Another encoder over stored prompts."""

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
