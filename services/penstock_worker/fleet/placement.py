"""Why a replica cannot be placed, in numbers: what it needs, and what the nodes have."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ray
from ray._private.state import available_resources_per_node
from ray.util.placement_group import PlacementGroup

_SHOWN = ("CPU", "GPU")
_MAX_NODES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class NodeRoom:
    """What a node has in all, and what of it is free. Its id is Ray's."""

    name: str
    total: Mapping[str, float]
    free: Mapping[str, float]
    node_id: str = ""


def emptiest_node(bundle: Mapping[str, float]) -> str | None:
    """Ray's id of the node with the fewest placement groups of those where a bundle fits; None where it fits none.

    Ray fills one node before it takes the next; the death of that node would be the death of all replicas.
    """
    rooms = [node for node in _nodes() if _fits(bundle, node.free)]
    if not rooms:
        return None
    num_groups = _num_groups()
    return min(rooms, key=lambda node: (num_groups[node.node_id], -node.free.get("CPU", 0.0))).node_id


def placement_lack(group: PlacementGroup) -> str:
    """What a group that is not placed waits for. Asks Ray, and blocks for some milliseconds."""
    return describe_lack(group.bundle_specs, _nodes())


def describe_lack(bundles: Sequence[Mapping[str, float]], nodes: Sequence[NodeRoom]) -> str:
    """What bundles need that no node has free, against what there is.

    Args:
        bundles: resources of each; each must fit one node.
        nodes: those that live.
    """
    needs = " and ".join(_needs(bundle, bundles.count(bundle)) for bundle in _distinct(bundles))
    impossible = [bundle for bundle in bundles if not any(_fits(bundle, node.total) for node in nodes)]
    if impossible:
        needs += f"; no node has {_amounts(impossible[0])}"
    rooms = [f"{node.name} {_room(node, bundles)}" for node in nodes[:_MAX_NODES_SHOWN]]
    more = f" and {len(nodes) - _MAX_NODES_SHOWN} more" if len(nodes) > _MAX_NODES_SHOWN else ""
    return f"needs {needs}; free: {', '.join(rooms) or 'no node'}{more}"


def _needs(bundle: Mapping[str, float], count: int) -> str:
    return _amounts(bundle) if count == 1 else f"{count} times {_amounts(bundle)}"


def _distinct(bundles: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    return [bundle for index, bundle in enumerate(bundles) if bundle not in bundles[:index]]


def _fits(bundle: Mapping[str, float], room: Mapping[str, float]) -> bool:
    return all(room.get(name, 0.0) >= amount for name, amount in bundle.items())


def _amounts(resources: Mapping[str, float]) -> str:
    return " + ".join(f"{amount:g} {name}" for name, amount in resources.items() if amount)


def _room(node: NodeRoom, bundles: Sequence[Mapping[str, float]]) -> str:
    """Of all that is asked for."""
    names = [name for name in _SHOWN if any(bundle.get(name) for bundle in bundles)]
    return " + ".join(f"{node.free.get(name, 0.0):g} of {node.total.get(name, 0.0):g} {name}" for name in names)


def _num_groups() -> Counter[str]:
    """How many placement groups have something on each node."""
    groups = ray.util.placement_group_table().values()
    placed = [set(group["bundles_to_node_id"].values()) for group in groups if group["state"] == "CREATED"]
    return Counter(node_id for node_ids in placed for node_id in node_ids)


def _nodes() -> list[NodeRoom]:
    free = available_resources_per_node()  # type: ignore[no-untyped-call]
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return [
        NodeRoom(node["NodeManagerAddress"], node["Resources"], free.get(node["NodeID"], {}), node["NodeID"])
        for node in nodes
        if node["Alive"]
    ]
