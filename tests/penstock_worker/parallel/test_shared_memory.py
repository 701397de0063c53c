"""Groups and links over shared memory, and over gloo: the same contract, in real processes."""

import multiprocessing
import socket
from typing import Any

import pytest
import torch

from penstock_worker.models.shard import Shard
from penstock_worker.parallel.shared_region import Layout, SharedRegion
from penstock_worker.parallel.topology import Topology
from penstock_worker.parallel.wiring import GLOO, SHARED_MEMORY, Wiring, WiringPlan, follow

_LIMIT_S = 120

Outcomes = dict[int, dict[str, Any]]


def _values(rank: int, count: int) -> torch.Tensor:
    return torch.arange(count, dtype=torch.float32) * (rank + 1) + 0.1 * rank


def _member(message: dict[str, Any], topology: Topology, rank: int, results: Any) -> None:
    wiring = follow(message, topology, rank)
    results.put((rank, _use(wiring, topology.shard(rank))))


def _use(wiring: Wiring, shard: Shard) -> dict[str, Any]:
    """What each process does, whatever connects them; as lists, for the way back."""
    found: dict[str, Any] = {}
    count = 700_001  # several slots, the last one not full
    found["sum"] = wiring.group.all_reduce(_values(shard.tp_rank, count))[[0, 1, 349_999, 700_000]].tolist()
    found["half"] = wiring.group.all_reduce(_values(shard.tp_rank, 5).bfloat16()).tolist()
    rows = _values(shard.tp_rank, 3 * (2 + shard.tp_rank)).view(3, -1)
    gathered = wiring.group.gather(rows)
    found["gathered"] = None if gathered is None else gathered.tolist()
    hidden = _values(7, 600_000).view(6, -1)
    for number in range(5):  # more than there are slots
        if wiring.below is not None:
            hidden = wiring.below.receive(torch.empty(6, 100_000))
        if wiring.above is not None:
            wiring.above.send(hidden + number)
        found[f"hidden {number}"] = hidden[0, :2].tolist() + hidden[5, -2:].tolist()
    return found


@pytest.fixture(scope="module", params=[SHARED_MEMORY, GLOO])
def outcomes(request: pytest.FixtureRequest) -> Outcomes:
    """What four processes, two stages of two, have found, by rank."""
    topology = Topology(tensor_parallel=2, pipeline_parallel=2)
    plan = WiringPlan(request.param, topology, "127.0.0.1")
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    members = [
        context.Process(target=_member, args=(plan.message, topology, rank, results))
        for rank in topology.follower_ranks
    ]
    for member in members:
        member.start()
    found = {0: _use(plan.lead(0), topology.shard(0))}
    found |= dict(results.get(timeout=_LIMIT_S) for _ in members)
    for member in members:
        member.join(_LIMIT_S)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return found


def test_every_member_has_the_sum_with_the_same_bits(outcomes: Outcomes) -> None:
    """Members that differ in a bit drift apart, and sample from what nobody computed."""
    expected = (_values(0, 700_001) + _values(1, 700_001))[[0, 1, 349_999, 700_000]].tolist()
    assert [found["sum"] for found in outcomes.values()] == [expected] * 4


def test_half_precision_is_rounded_once(outcomes: Outcomes) -> None:
    """A sum rounded on the way would differ from that of one process."""
    expected = (_values(0, 5).bfloat16() + _values(1, 5).bfloat16()).tolist()
    assert [found["half"] for found in outcomes.values()] == [expected] * 4


def test_rank_0_has_all_parts_side_by_side(outcomes: Outcomes) -> None:
    """Parts of a vocabulary need not be equally wide."""
    expected = torch.cat([_values(0, 6).view(3, 2), _values(1, 9).view(3, 3)], dim=1).tolist()
    assert [outcomes[rank]["gathered"] for rank in range(4)] == [expected, None, expected, None]


def test_the_stage_above_receives_what_was_sent_in_order(outcomes: Outcomes) -> None:
    """A stage works ahead by as many micro-batches as there are slots, and no micro-batch may be lost or overtaken."""
    hidden = _values(7, 600_000).view(6, -1)
    for number in range(5):
        expected = (hidden + number)[0, :2].tolist() + (hidden + number)[5, -2:].tolist()
        for rank in (0, 1):  # the last stage
            assert outcomes[rank][f"hidden {number}"] == expected


def test_a_sealed_region_lets_nobody_in() -> None:
    """Only shards that were invited see what the others compute."""
    layout = Layout(Topology(2, 1), 4096)
    region = SharedRegion.create(layout)
    address = region.address
    opened = SharedRegion.open(address, layout)
    region.counter(0).set(7)
    assert opened.counter(0).value == 7
    region.seal()
    with pytest.raises(OSError, match=str(address.fd)):
        SharedRegion.open(address, layout)


def test_gloo_listens_where_the_leader_does() -> None:
    """A store that listened everywhere would let other machines in."""
    plan = WiringPlan(GLOO, Topology(1, 2), "127.0.0.1")
    host, port = plan.message["address"]
    assert host == "127.0.0.1"
    socket.create_connection((host, port), timeout=2).close()
