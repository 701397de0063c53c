"""A replica that cannot be placed says what it needs and what the nodes have."""

from collections.abc import Mapping, Sequence

import pytest

from penstock_worker.fleet.placement import NodeRoom, describe_lack

SMALL = NodeRoom("10.0.0.1", {"CPU": 4.0, "memory": 1e9}, {"CPU": 1.0, "memory": 1e9})
LARGE = NodeRoom("10.0.0.2", {"CPU": 8.0, "GPU": 2.0}, {"GPU": 0.5})


@pytest.mark.parametrize(
    ("bundles", "nodes", "expected"),
    [
        ([{"CPU": 2.0}], [SMALL, LARGE], "needs 2 CPU; free: 10.0.0.1 1 of 4 CPU, 10.0.0.2 0 of 8 CPU"),
        (
            [{"CPU": 1.0, "GPU": 1.0}] * 2,
            [LARGE],
            "needs 2 times 1 CPU + 1 GPU; free: 10.0.0.2 0 of 8 CPU + 0.5 of 2 GPU",
        ),
        ([{"CPU": 16.0}], [SMALL], "needs 16 CPU; no node has 16 CPU; free: 10.0.0.1 1 of 4 CPU"),
        ([{"CPU": 1.0}], [], "needs 1 CPU; no node has 1 CPU; free: no node"),
    ],
)
def test_needs_stand_beside_what_is_free(
    bundles: Sequence[Mapping[str, float]], nodes: Sequence[NodeRoom], expected: str
) -> None:
    """An operator sees whether to wait, to make room or to add a node."""
    assert describe_lack(bundles, nodes) == expected


def test_of_many_nodes_some_are_named() -> None:
    """It is one line of a table."""
    assert describe_lack([{"CPU": 9.0}], [SMALL] * 20).endswith("10.0.0.1 1 of 4 CPU and 12 more")
