"""Deciders that learn from a store that several instances share."""

import asyncio
from collections.abc import Sequence

import pytest
from fakes.cache_entries import OpenStore
from fakes.clock import FakeClock
from fakes.semantic_layer import ObedientDecider

from penstock_cache.decision.label import Label
from penstock_cache.entries import StoredLabel
from penstock_cache.semantic.deciders import Deciders
from penstock_cache.store import Store
from penstock_shared.errors import UnavailableError


class FlakyLabels:
    """Labels of a store that is out of reach while `is_away`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.is_away = False

    async def labels(self, tenant: str, model: str, *, after: int = 0) -> list[StoredLabel]:
        """The store's, unless it is away."""
        if self.is_away:
            raise UnavailableError("away")
        return await self._store.labels(tenant, model, after=after)

    async def add_label(self, tenant: str, model: str, label: Label) -> None:
        """Keeps it."""
        await self._store.add_label(tenant, model, label)


def label(cluster: str) -> Label:
    """What an exploration showed of a cluster."""
    return Label(cluster, 0.5, True, 1.0, 0.0)


def clusters(labels: Sequence[Label]) -> list[str]:
    """Whose labels they are."""
    return [each.cluster for each in labels]


def deciders(store: Store | FlakyLabels, clock: FakeClock, **options: int) -> Deciders:
    """Deciders that remember what they are taught."""
    return Deciders(store, ObedientDecider, clock=clock, **options)  # type: ignore[arg-type]


async def taught(them: Deciders, tenant: str = "acme", model: str = "m") -> list[str]:
    """What a decider knows."""
    decider = await them.of(tenant, model)
    assert isinstance(decider, ObedientDecider)
    return clusters(decider.labels)


async def test_what_was_learned_is_learned_again_after_a_restart(open_store: OpenStore, clock: FakeClock) -> None:
    """Once for each label, in their order, and never for another tenant or model."""
    store = open_store()
    them = deciders(store, clock)
    for name in "ab":
        await them.learn("acme", "m", label(name))
    assert await taught(them) == ["a", "b"]
    again = deciders(store, clock)
    assert await taught(again) == ["a", "b"]
    await again.learn("acme", "m", label("c"))
    assert await taught(again) == ["a", "b", "c"]
    assert await taught(again, "other") == await taught(again, "acme", "n") == []


async def test_labels_of_other_instances_are_learned_after_a_while_and_once(
    open_store: OpenStore, clock: FakeClock
) -> None:
    """Two caches over one database share what they know."""
    store = open_store()
    one, other = deciders(store, clock), deciders(store, clock)
    assert await taught(one) == []
    await other.learn("acme", "m", label("a"))
    assert await taught(one) == []
    clock.advance(5)
    await taught(one)
    await asyncio.gather(*one._background)
    assert await taught(one) == ["a"]
    await asyncio.gather(*(one.learn("acme", "m", label(name)) for name in "bcd"))
    assert sorted(await taught(one)) == ["a", "b", "c", "d"]


async def test_a_caller_without_time_leaves_the_building_to_the_next(open_store: OpenStore, clock: FakeClock) -> None:
    """Thousands of labels may take longer than one lookup has."""
    them = deciders(open_store(), clock)
    impatient = asyncio.create_task(them.of("acme", "m"))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await taught(them) == []
    assert len(them.estimates("acme")) == len(them.estimates("")) == 1
    assert them.estimates("other") == []


async def test_a_store_that_was_away_is_asked_again(open_store: OpenStore, clock: FakeClock) -> None:
    """A failure is not remembered for ever."""
    store = FlakyLabels(open_store())
    store.is_away = True
    them = deciders(store, clock)
    with pytest.raises(UnavailableError):
        await them.of("acme", "m")
    assert them.estimates("acme") == []
    store.is_away = False
    assert await taught(them) == []
    store.is_away = True
    clock.advance(5)
    assert await taught(them) == []  # what is known goes on without what is new
    await asyncio.gather(*them._background)


async def test_only_so_many_are_kept_in_memory(open_store: OpenStore, clock: FakeClock) -> None:
    """Those that were not used for longest are built again when they are needed."""
    them = deciders(open_store(), clock, max_held=2)
    first = await them.of("a", "m")
    await them.learn("a", "m", label("x"))
    await them.of("b", "m")
    assert await them.of("a", "m") is first
    await them.of("c", "m")
    assert await them.of("a", "m") is first
    await them.of("b", "m")
    await them.of("c", "m")
    assert await them.of("a", "m") is not first
    assert await taught(them, "a") == ["x"]
