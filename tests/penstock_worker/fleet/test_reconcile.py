"""From any state the fleet comes to what is wanted, never below it on the way, and then rests."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from penstock_shared.directory import ReplicaState
from penstock_worker.fleet.reconcile import (
    DrainReplica,
    RunningReplica,
    StartReplica,
    Variant,
    WantedReplicas,
    reconcile,
)
from penstock_worker.fleet.spec import ReplicaShape

READY, LOADING, FAILED = ReplicaState.READY, ReplicaState.LOADING, ReplicaState.FAILED
RESTARTING = ReplicaState.RESTARTING
OLD = Variant(ReplicaShape(model_dir=Path("/models/a")), "revision-1")
NEW = Variant(ReplicaShape(model_dir=Path("/models/b")), "revision-2")
ROUNDED = Variant(ReplicaShape(model_dir=Path("/models/a"), quantize="int8"), "revision-1")


def running(index: int, state: ReplicaState = READY, variant: Variant = OLD, **flags: bool) -> RunningReplica:
    """A replica of model m."""
    return RunningReplica(f"m-{index}", "m", variant, state, **flags)


def wanted(count: int, variant: Variant = OLD) -> WantedReplicas:
    """Replicas of model m."""
    return WantedReplicas("m", count, variant)


def actions(
    want: WantedReplicas, *replicas: RunningReplica, released: frozenset[tuple[str, str]] = frozenset()
) -> list[str]:
    """In short: +id for a start, -id for a drain."""
    found = reconcile([want], replicas, released=released)
    return [f"+{each.replica_id}" if isinstance(each, StartReplica) else f"-{each.replica_id}" for each in found]


RELEASED = frozenset({("m", "revision-1")})


@pytest.mark.parametrize(
    ("want", "replicas", "expected"),
    [
        (wanted(2), [], ["+m-0", "+m-1"]),
        (wanted(2), [running(0), running(1)], []),
        (wanted(2), [running(0, LOADING), running(1, FAILED)], []),
        (wanted(3), [running(0), running(2)], ["+m-1"]),
        (wanted(1), [running(0), running(1), running(2)], ["-m-2", "-m-1"]),
        (wanted(1), [running(0, FAILED), running(1)], ["-m-0"]),
        (wanted(0), [running(0)], ["-m-0"]),
        (wanted(1), [running(0), running(1, is_leaving=True)], []),
        (wanted(1), [running(0, is_leaving=True)], ["+m-1"]),
    ],
)
def test_number_of_replicas_is_brought_to_what_is_wanted(
    want: WantedReplicas, replicas: list[RunningReplica], expected: list[str]
) -> None:
    """Names are used again; those that serve nobody go first; what leaves counts no more."""
    assert actions(want, *replicas) == expected


def test_model_that_is_not_wanted_any_more_is_drained() -> None:
    """Once: what leaves is left alone."""
    stranger = replace(running(0), model="other", replica_id="other-0")
    gone = replace(running(1), model="other", replica_id="other-1", is_leaving=True)
    assert actions(wanted(1), running(0), stranger, gone) == ["-other-0"]


def test_replacement_is_ready_before_an_old_one_drains() -> None:
    """Make before break: the number that serves never falls."""
    old = [running(0), running(1)]
    assert actions(wanted(2, NEW), *old) == ["+m-2"]
    assert actions(wanted(2, NEW), *old, running(2, LOADING, NEW)) == []
    assert actions(wanted(2, NEW), *old, running(2, READY, NEW)) == ["-m-0"]
    leaving = [running(0, is_leaving=True), running(1), running(2, READY, NEW)]
    assert actions(wanted(2, NEW), *leaving) == ["+m-3"]


def test_last_replica_of_a_revision_stays_until_no_request_is_for_it() -> None:
    """A request that was accepted for the old revision is answered by it."""
    replicas = [running(1), running(2, READY, NEW), running(3, READY, NEW)]
    assert actions(wanted(2, NEW), *replicas) == []
    assert actions(wanted(2, NEW), *replicas, released=RELEASED) == ["-m-1"]


def test_other_shape_of_the_same_revision_needs_no_such_wait() -> None:
    """Requests go on at the replicas that are left."""
    assert actions(wanted(1, ROUNDED), running(0), running(1, READY, ROUNDED)) == ["-m-0"]


def test_replica_that_an_operator_drains_is_replaced() -> None:
    """The replacement comes first."""
    unwanted = running(0, is_unwanted=True)
    assert actions(wanted(2), unwanted, running(1)) == ["+m-2"]
    assert actions(wanted(2), unwanted, running(1), running(2)) == ["-m-0"]
    assert actions(wanted(1), unwanted, running(1)) == ["-m-0"]


def test_new_replica_that_cannot_load_stops_the_update() -> None:
    """The old ones serve on, and no further one is tried."""
    assert actions(wanted(2, NEW), running(0), running(1), running(2, FAILED, NEW)) == []
    assert actions(wanted(2, NEW), running(0, RESTARTING), running(1), running(2, FAILED, NEW)) == []
    assert actions(wanted(2), running(0), running(1), running(2, FAILED, NEW)) == ["-m-2"]


def test_nothing_is_drained_before_it_is_known_what_serves() -> None:
    """A fleet that was just restarted sees all replicas as starting: to remove the old ones would end their work."""
    found = [running(0, LOADING, is_being_found=True), running(1, LOADING, is_being_found=True)]
    assert actions(wanted(1, NEW), *found) == []
    assert actions(wanted(4), *found) == ["+m-2", "+m-3"]
    assert actions(wanted(1), running(0), running(1, LOADING, is_being_found=True)) == []


@pytest.mark.parametrize("seed", range(40))
def test_any_course_ends_as_wanted_and_serves_all_the_way(seed: int) -> None:
    """Replicas get ready, die and leave in any order: there is no deadlock, no endless work, and never too few."""
    draw = random.Random(seed)
    replicas = {f"m-{index}": running(index) for index in range(draw.randint(1, 4))}
    want = wanted(draw.randint(1, 4), draw.choice([NEW, OLD, ROUNDED]))
    least = min(want.count, len(replicas))
    for _ in range(200):
        found = reconcile([want], list(replicas.values()), released=RELEASED)
        for action in found:
            if isinstance(action, StartReplica):
                assert action.replica_id not in replicas
                replicas[action.replica_id] = RunningReplica(action.replica_id, "m", want.variant, LOADING)
            else:
                replicas[action.replica_id] = replace(replicas[action.replica_id], is_leaving=True)
        assert sum(each.is_ready and not each.is_leaving for each in replicas.values()) >= least
        moving = [each for each in replicas.values() if each.is_leaving or each.state is LOADING]
        if not moving:
            break
        each = draw.choice(moving)
        if each.is_leaving:
            del replicas[each.replica_id]
        else:
            replicas[each.replica_id] = replace(each, state=READY)
    assert [(each.variant, each.state) for each in replicas.values()] == [(want.variant, READY)] * want.count
    assert reconcile([want], list(replicas.values())) == []


def test_what_is_begun_is_not_begun_again() -> None:
    """Reconciling is asked at every change."""
    started = reconcile([wanted(1)], [])
    assert started == [StartReplica(wanted(1), "m-0")]
    assert reconcile([wanted(1)], [running(0, ReplicaState.UNSPECIFIED)]) == []
    assert reconcile([wanted(0)], [running(0)]) == [DrainReplica("m-0")]
    assert reconcile([wanted(0)], [running(0, is_leaving=True)]) == []
