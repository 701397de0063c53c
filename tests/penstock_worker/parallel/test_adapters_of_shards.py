"""Adapters over shards, of which one may fail."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from penstock_shared.errors import FailedPreconditionError
from penstock_worker.parallel.connection import Connection, Kind
from penstock_worker.parallel.followers import Followers
from penstock_worker.parallel.rendezvous import Member
from penstock_worker.parallel.team import TeamAdapters
from penstock_worker.parallel.topology import Topology

_DROPPED = {"adapter_id": 7}


class OwnAdapters:
    """The leader's: all are well."""

    def __init__(self) -> None:
        self.held: set[int] = set()

    def load(self, adapter_id: int, _adapter_dir: Path, _revision: str) -> None:
        """Keeps it."""
        self.held.add(adapter_id)

    def drop(self, adapter_id: int) -> None:
        """Forgets it."""
        self.held.remove(adapter_id)


def _connected(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection."""
    door = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    far = stack.enter_context(socket.create_connection(door.getsockname()))
    return stack.enter_context(door.accept()[0]), far


@pytest.fixture
def shards() -> Iterator[tuple[Followers, list[Connection]]]:
    """Two shards of a leader, and their ends of its connections."""
    with ExitStack() as stack:
        pairs = [_connected(stack) for _ in range(4)]
        near, far = ([Connection(pair[end]) for pair in pairs] for end in (0, 1))
        members = {rank: Member("here", near[2 * rank - 2], near[2 * rank - 1]) for rank in (1, 2)}
        followers = Followers(Topology(3, 1), members, "127.0.0.1", pytest.fail)
        yield followers, [far[0], far[2]]
        followers.close()


def test_an_adapter_that_one_shard_cannot_read_is_dropped_by_all(
    shards: tuple[Followers, list[Connection]],
) -> None:
    """Its id is of an adapter that nobody may ask for: what holds it would hold it for ever."""
    followers, (well, ill) = shards
    well.send_json(Kind.ADAPTER_LOADED, {"adapter_id": 7})
    ill.send_json(Kind.FAILED, {"message": "no such file"})
    own = OwnAdapters()
    with pytest.raises(FailedPreconditionError, match="shard 2: no such file"):
        TeamAdapters(own, followers).load(7, Path("/law"), "revision")
    assert own.held == set()
    for shard in (well, ill):
        assert shard.expect(Kind.LOAD_ADAPTER)[1]["adapter_dir"] == "/law"
        assert shard.expect(Kind.DROP_ADAPTER)[1] == _DROPPED
