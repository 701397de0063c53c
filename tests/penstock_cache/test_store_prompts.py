"""The contract of every store: answers that are found by the meaning of their prompts."""

import asyncio

import numpy as np
import pytest
from fakes.cache_entries import ENCODER, OpenStore, entry, near, prompt, scope, semantic
from fakes.clock import FakeClock

from penstock_cache.entries import SelectBy, Selector
from penstock_cache.statements import size_of
from penstock_cache.store import Store

pytestmark = pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)


async def put(store: Store, text: str, x: float, y: float, **options: str | float | tuple[str, ...]) -> str:
    """Keeps an entry whose prompt points to (x, y)."""
    part = {name: options.pop(name) for name in ("context", "encoder", "cluster") if name in options}
    entry_id = await store.put(entry(text, semantic=semantic(text, [x, y], **part), **options))  # type: ignore[arg-type]
    assert entry_id is not None
    return entry_id


async def test_the_nearest_prompts_come_first_with_all_that_was_put(open_store: OpenStore, clock: FakeClock) -> None:
    """The verifier sees what the encoder made, and the similarity is the true one."""
    store = open_store()
    entry_id = await put(store, "near", 3, 1)
    await put(store, "far", 0, 1)
    await put(store, "nearest", 1, 0, cluster="shared")
    nearest, neighbour = await store.neighbours(scope(), prompt("", [1, 0]).vector, 2)
    assert (nearest.prompt.text, nearest.cluster, nearest.similarity) == ("nearest", "shared", 1.0)
    assert (neighbour.entry_id, neighbour.cluster, neighbour.prompt.text) == (entry_id, entry_id, "near")
    assert neighbour.created_s == clock()
    assert neighbour.prompt.detail == b"detail of near"
    assert np.array_equal(neighbour.prompt.vector, prompt("near", [3, 1]).vector)
    assert neighbour.similarity == pytest.approx(3 / np.sqrt(10))


async def test_nothing_is_found_across_tenants_contexts_and_encoders(open_store: OpenStore) -> None:
    """The very same prompt elsewhere is no neighbour."""
    store = open_store()
    await put(store, "a", 1, 0)
    for elsewhere in (scope("other"), scope(context="d"), scope(encoder="encoder-2")):
        assert await near(store, [1, 0], within=elsewhere) == []
        assert not await store.has_prompts(elsewhere)
    assert await store.has_prompts(scope())
    await put(store, "b", 1, 0, tenant="other")
    await put(store, "c", 1, 0, context="d")
    assert await near(store, [1, 0], within=scope("other")) == ["b"]
    assert await near(store, [1, 0], within=scope(context="d")) == ["c"]
    assert await near(store, [1, 0]) == ["a"]


async def test_neighbours_follow_every_change(open_store: OpenStore, clock: FakeClock) -> None:
    """What is put is found at once, and what is gone is not."""
    store = open_store()
    await put(store, "a", 1, 0)
    assert await near(store, [1, 0]) == ["a"]
    await put(store, "b", 2, 1, ttl_s=10)
    await put(store, "c", 1, 1)
    assert await near(store, [1, 0]) == ["a", "b", "c"]
    await store.put(entry("a"))  # the same key without a semantic part
    assert await near(store, [1, 0]) == ["b", "c"]
    clock.advance(10)
    assert await near(store, [1, 0], limit=1) == ["c"]
    await store.sweep()
    await store.invalidate("acme", Selector(SelectBy.ALL))
    assert await near(store, [1, 0]) == []
    await put(store, "d", 1, 0)
    assert await near(store, [1, 0]) == ["d"]


async def test_many_that_are_gone_do_not_hide_the_one_that_is_left(open_store: OpenStore) -> None:
    """A model's revision, a tag or an encoder goes with hundreds of prompts at once."""
    store = open_store()
    await asyncio.gather(*(put(store, f"{number}", 1, 0, tags=("gone",)) for number in range(60)))
    await asyncio.gather(*(put(store, f"{number}", 1, 0, tags=("gone",)) for number in range(60, 120)))
    await put(store, "left", 0, 1)
    assert "left" not in await near(store, [1, 0])
    await store.invalidate("acme", Selector(SelectBy.TAG, "gone"))
    assert await near(store, [1, 0]) == ["left"]


async def test_neighbours_are_found_after_a_restart(open_store: OpenStore) -> None:
    """Vectors live in the database."""
    store = open_store()
    for text, x in (("a", 3), ("b", 2), ("c", 1)):
        await put(store, text, x, 1)
    store.close()
    assert await near(open_store(), [1, 0]) == ["a", "b", "c"]


async def test_a_prompt_counts_in_the_budget(open_store: OpenStore) -> None:
    """Vectors and details are most of a small answer's size, and evicted prompts are no neighbours."""
    with_prompt = entry("a", semantic=semantic("a", [1, 0]))
    assert size_of(with_prompt) == size_of(entry("a")) + len("a") + 2 * 4 + len("detail of a") + 160
    store = open_store(max_bytes=2 * size_of(with_prompt))
    for text in "abc":
        await put(store, text, 1, 0)
    assert sorted(await near(store, [1, 0])) == ["b", "c"]


async def test_prompts_of_another_encoder_wait_until_they_are_encoded_again(open_store: OpenStore) -> None:
    """The embedder was changed: no wrong neighbour meanwhile, and all of them afterwards."""
    store = open_store()
    for text in "abc":
        await put(store, text, 1, 0, cluster=f"cluster of {text}")
    renewed = scope(encoder="encoder-2")
    assert await store.stale_prompts(ENCODER, 10) == []
    stale = await store.stale_prompts("encoder-2", 2)
    assert [await store.num_stale_prompts(tenant, "encoder-2") for tenant in ("acme", "", "other")] == [3, 3, 0]
    encoded = [(each.prompt_id, prompt(each.text, [0, 1])) for each in stale]
    assert await store.replace_prompts("encoder-2", encoded) == 2
    assert await near(store, [0, 1], within=renewed) == [each.text for each in stale]
    assert len(await near(store, [1, 0])) == 1
    assert await store.replace_prompts("encoder-2", encoded) == 0  # gone under these ids
    (last,) = await store.stale_prompts("encoder-2", 10)
    await store.replace_prompts("encoder-2", [(last.prompt_id, prompt(last.text, [0, 1]))])
    neighbours = await store.neighbours(renewed, prompt("", [0, 1]).vector, 8)
    assert {each.cluster for each in neighbours} == {"cluster of a", "cluster of b", "cluster of c"}


async def test_an_entry_is_found_by_its_id_for_its_tenant_while_it_lives(
    open_store: OpenStore, clock: FakeClock
) -> None:
    """A neighbour is served by its id; a guessed id of another tenant says nothing."""
    store = open_store()
    entry_id = await put(store, "a", 1, 0, ttl_s=10)
    stored = await store.entry("acme", entry_id)
    assert stored is not None
    assert (stored.entry_id, stored.answer.strip(), stored.created_s) == (entry_id, b"a", 1000.0)
    assert await store.entry("other", entry_id) is None
    clock.advance(10)
    assert await store.entry("acme", entry_id) is None


async def test_searches_and_puts_at_once_agree_in_the_end(open_store: OpenStore) -> None:
    """A scope is read while it changes; what was put meanwhile must not be lost."""
    store = open_store()
    await asyncio.gather(
        *(put(store, f"{number}", 1, number) for number in range(16)), *(near(store, [1, 0]) for _ in range(16))
    )
    assert await near(store, [1, 0], limit=16) == [f"{number}" for number in range(16)]
