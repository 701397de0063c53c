"""The contract of every store: what explorations showed."""

import pytest
from fakes.cache_entries import OpenStore

from penstock_cache.decision.label import Label

pytestmark = pytest.mark.parametrize("open_store", ["sqlite", "postgres"], indirect=True)


def label(number: int) -> Label:
    """A label that tells which it is."""
    return Label(f"cluster-{number}", 0.5 + number, number % 2 == 0, 0.25, 1000.0 + number)


async def test_labels_come_back_as_they_were_for_their_tenant_and_model(open_store: OpenStore) -> None:
    """The decider is built from them after a restart, and learns nothing from others."""
    store = open_store()
    for number in range(3):
        await store.add_label("acme", "m", label(number))
    await store.add_label("acme", "other-model", label(10))
    await store.add_label("other", "m", label(20))
    store.close()
    store = open_store()
    assert [each.label for each in await store.labels("acme", "m")] == [label(0), label(1), label(2)]
    assert [each.label for each in await store.labels("other", "m")] == [label(20)]
    assert await store.label_models("acme") == ["m", "other-model"]
    assert await store.label_models("nobody") == []


async def test_labels_are_read_on_from_the_last_one_seen(open_store: OpenStore) -> None:
    """An instance follows what the others learn; one that begins takes the newest."""
    store = open_store()
    for number in range(4):
        await store.add_label("acme", "m", label(number))
    seen = await store.labels("acme", "m", limit=2)
    assert [each.label for each in seen] == [label(2), label(3)]
    assert await store.labels("acme", "m", after=seen[-1].number) == []
    await store.add_label("acme", "m", label(4))
    assert [each.label for each in await store.labels("acme", "m", after=seen[-1].number)] == [label(4)]
