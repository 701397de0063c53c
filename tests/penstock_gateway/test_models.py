"""Which revision of a model a request is for, while two of them serve."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import cycle

from fakes.gateway_deployment import SPEC

from penstock_gateway.models import ModelCatalog
from penstock_shared.directory import Directory, ModelSpec, OtherRevision, ReplicaInfo, ReplicaState

NEW = replace(SPEC, revision="revision-2")


def catalog_of(*numbers: float, unprepared: str = "") -> ModelCatalog:
    """A catalog that draws these numbers, again and again."""
    drawn: Iterator[float] = cycle(numbers)
    return ModelCatalog(lambda: 0.0, is_prepared=lambda spec: spec.revision != unprepared, draw=lambda: next(drawn))


def directory(*ready: str, takes_new_requests: bool = True, current: ModelSpec = SPEC) -> Directory:
    """Both revisions, and a ready replica for each that is named."""
    replicas = [
        ReplicaInfo(f"r-{index}", SPEC.name, ReplicaState.READY, "a:1", 1, revision, "n")
        for index, revision in enumerate(ready)
    ]
    other = NEW if current is SPEC else SPEC
    return Directory(1, (current,), tuple(replicas), other_revisions=(OtherRevision(other, takes_new_requests),))


def drawn(catalog: ModelCatalog, count: int = 4) -> Counter[str]:
    """How often each revision was the one."""
    return Counter(catalog.resolve("", field="model").revision for _ in range(count))


def test_each_revision_gets_the_share_of_its_ready_replicas() -> None:
    """One new replica beside three old ones must not get everything."""
    catalog = catalog_of(0.0, 0.26, 0.5, 0.76)
    catalog.update(directory("revision-1", "revision-1", "revision-1", "revision-2"))
    assert drawn(catalog) == {"revision-1": 3, "revision-2": 1}
    catalog.update(directory("revision-2"))
    assert drawn(catalog) == {"revision-2": 4}


def test_revision_that_is_retired_gets_nothing_new() -> None:
    """Its last replica goes when what it has is done."""
    catalog = catalog_of(0.0, 0.99)
    catalog.update(directory("revision-1", "revision-2", takes_new_requests=False, current=NEW))
    assert drawn(catalog) == {"revision-2": 4}


def test_revision_whose_tokenizer_is_not_there_yet_gets_nothing() -> None:
    """Its requests would fail for want of token ids."""
    catalog = catalog_of(0.99, unprepared="revision-2")
    catalog.update(directory("revision-1", "revision-2"))
    assert drawn(catalog) == {"revision-1": 4}


def test_without_any_ready_replica_the_current_revision_is_meant() -> None:
    """Requests wait for the one that is sure to come back."""
    catalog = catalog_of(0.5)
    catalog.update(directory())
    assert drawn(catalog) == {"revision-1": 4}


def test_requests_under_way_are_counted_by_revision() -> None:
    """The fleet waits for them, however they end."""
    catalog = catalog_of(0.0)
    catalog.update(directory("revision-1"))
    with catalog.using(SPEC), catalog.using(SPEC):
        assert catalog.num_requests == {("pocket", "revision-1"): 2}
    with suppress(ValueError), catalog.using(SPEC):
        raise ValueError
    assert catalog.num_requests == {}
