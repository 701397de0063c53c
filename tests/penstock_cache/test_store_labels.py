"""The contract of every store: what explorations showed."""

from dataclasses import replace

import pytest
from fakes.cache_entries import OpenStore

from penstock_cache.decision.label import Label
from penstock_cache.entries import Restored

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


async def test_a_label_that_comes_back_counts_once(open_store: OpenStore) -> None:
    """To import twice must not make the decider twice as sure; another comparison of the same pair is another label."""
    store = open_store()
    await store.add_label("acme", "m", label(0))
    back = replace(label(0), time_s=label(0).time_s + 5e-7)  # as it comes out of a record
    later = replace(label(0), time_s=label(0).time_s + 1)
    assert await store.restore_label("acme", "m", back) is Restored.ALREADY_THERE
    assert await store.restore_label("acme", "m", later) is Restored.KEPT
    assert await store.restore_label("acme", "other-model", back) is Restored.KEPT
    assert [each.label for each in await store.labels("acme", "m")] == [label(0), later]
