"""When a stack can serve, and what is told while it cannot."""

from dataclasses import replace

import pytest

from penstock.local.plan import Addresses
from penstock.local.ports import Ports
from penstock.local.process_id import ProcessId
from penstock.local.state import Phase, ReplicaView, ServiceState, StackState, Stage

REPLICA = ReplicaView("pocket-0", "ready", 3.0, "127.0.0.1:1", 1, 1, 0, "")
STATE = StackState(
    phase=Phase.STARTING,
    supervisor=ProcessId(1, "b"),
    started_at=1.5,
    model_name="pocket",
    model_dir="/models/pocket",
    num_replicas=2,
    addresses=Addresses.on_loopback(Ports()),
    services=(
        ServiceState("tokenizer", "127.0.0.1:50053", Stage.READY, 2.0, ProcessId(2, "c"), 1.75),
        ServiceState("gateway", "127.0.0.1:50051", Stage.READY, 2.0, None, None, 1, "was killed by SIGKILL"),
    ),
    replicas=(REPLICA, replace(REPLICA, replica_id="pocket-1")),
)


def test_can_serve_when_all_is_ready() -> None:
    """`up` returns then."""
    assert STATE.can_serve


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.READY])
def test_one_service_that_is_not_ready_is_too_few(stage: Stage) -> None:
    """A request needs all of them."""
    state = STATE.with_service(replace(STATE.services[0], stage=stage))
    assert not state.can_serve
    assert state.waits_for == f"tokenizer ({stage})"


def test_fewer_replicas_than_wanted_are_too_few() -> None:
    """The operator asked for a number, and gets it or hears why not."""
    loading = replace(REPLICA, stage="loading", detail="reading weights")
    assert not replace(STATE, replicas=(REPLICA, loading)).can_serve
    assert replace(STATE, replicas=(REPLICA, loading)).waits_for == "pocket-0 (loading, reading weights)"
    assert replace(STATE, replicas=(REPLICA,)).waits_for == "replicas"


def test_record_survives_the_way_through_json() -> None:
    """What one process writes, another reads."""
    assert StackState.from_json(STATE.to_json()) == STATE
