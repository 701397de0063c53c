"""A vocabulary is fetched once for all who ask."""

import asyncio

import pytest
from fakes.gateway_deployment import SPEC

from penstock_gateway.text.vocabulary import Vocabulary, VocabularyStore
from penstock_shared.directory import ModelSpec
from penstock_shared.errors import UnavailableError

TABLE = Vocabulary(SPEC.tokenizer_fingerprint, (b"a",))


class Source:
    """Fetches when told; the first `num_failures` times it cannot."""

    def __init__(self, num_failures: int = 0) -> None:
        self.num_fetches = 0
        self.num_failures = num_failures
        self.gate = asyncio.Event()

    async def __call__(self, _spec: ModelSpec) -> Vocabulary:
        """One fetch."""
        self.num_fetches += 1
        await self.gate.wait()
        if self.num_fetches <= self.num_failures:
            raise UnavailableError("not yet")
        return TABLE


async def test_all_who_ask_share_one_fetch() -> None:
    """A table of 150,000 entries for each of the first requests would be a flood."""
    source = Source()
    store = VocabularyStore(source)
    asking = [asyncio.ensure_future(store.get(SPEC)) for _ in range(5)]
    await asyncio.sleep(0)
    source.gate.set()
    assert await asyncio.gather(*asking) == [TABLE] * 5
    assert await store.get(SPEC) is TABLE
    assert (source.num_fetches, store.has(SPEC)) == (1, True)


async def test_one_who_goes_away_leaves_the_fetch_to_the_others() -> None:
    """A cancelled request must not fail its neighbours."""
    source = Source()
    store = VocabularyStore(source)
    leaving, staying = (asyncio.ensure_future(store.get(SPEC)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    source.gate.set()
    assert await staying is TABLE
    assert leaving.cancelled()


async def test_a_failure_is_not_kept() -> None:
    """The next one who asks tries again."""
    source = Source(num_failures=1)
    source.gate.set()
    store = VocabularyStore(source)
    with pytest.raises(UnavailableError):
        await store.get(SPEC)
    assert await store.get(SPEC) is TABLE


async def test_tables_that_no_model_uses_are_forgotten() -> None:
    """Models come and go."""
    source = Source()
    source.gate.set()
    store = VocabularyStore(source)
    await store.get(SPEC)
    store.keep_only([SPEC])
    assert store.has(SPEC)
    store.keep_only([])
    assert not store.has(SPEC)
