"""Who gets in where shards meet their leader."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from penstock_shared.errors import FailedPreconditionError
from penstock_worker.addresses import split_address
from penstock_worker.parallel.connection import ConnectionLostError, Kind
from penstock_worker.parallel.rendezvous import Invitation, Rendezvous, join

Admitted = tuple[Invitation, Callable[[], dict[str, Any]]]


@pytest.fixture
def admitted() -> Iterator[Admitted]:
    """A door, and whom it let in, once `join` was called for ranks 1 and 2."""
    rendezvous = Rendezvous("127.0.0.1")
    outcome: dict[str, Any] = {}

    def admit() -> None:
        try:
            outcome["members"] = rendezvous.admit([1, 2], limit_s=30)
        except FailedPreconditionError as error:
            outcome["error"] = str(error)

    thread = threading.Thread(target=admit)
    thread.start()

    def wait() -> dict[str, Any]:
        thread.join()
        return outcome

    yield rendezvous.invitation, wait
    thread.join()


def test_a_member_s_two_connections_reach_it(admitted: Admitted) -> None:
    """Plans and signs of life must not get mixed up, nor ranks: each shard computes its own part."""
    invitation, wait = admitted
    joined = {rank: join(invitation, rank) for rank in (2, 1)}
    members = wait()["members"]
    for rank in (1, 2):
        assert members[rank].host == joined[rank].host
        members[rank].work.send_json(Kind.ALLOCATE, {"num_blocks": rank})
        assert joined[rank].work.expect(Kind.ALLOCATE)[1] == {"num_blocks": rank}
        joined[rank].lifeline.send(Kind.BEAT)
        assert members[rank].lifeline.receive() == (Kind.BEAT, b"")


def test_strangers_stay_outside(admitted: Admitted) -> None:
    """Whoever takes a shard's place would see prompts, and make up hidden states."""
    invitation, wait = admitted
    for stranger in (replace(invitation, secret="00" * 32), invitation):
        rank = 1 if stranger is not invitation else 9
        with pytest.raises(ConnectionLostError):
            join(stranger, rank).work.receive()
    noise = socket.create_connection(split_address(invitation.address))
    noise.sendall(b"GET / HTTP/1.1\r\n\r\n")
    first = join(invitation, 1)
    with pytest.raises(ConnectionLostError):
        join(invitation, 1).work.receive()  # the place is taken
    join(invitation, 2)
    wait()["members"][1].work.send(Kind.BEAT)
    assert first.work.receive() == (Kind.BEAT, b"")
    noise.close()


def test_who_does_not_come_is_named() -> None:
    """The operator has to know which shard to look for."""
    with pytest.raises(FailedPreconditionError, match="no word of shards 1, 2 within 0 s"):
        Rendezvous("127.0.0.1").admit([1, 2], limit_s=0.05)


def test_the_secret_is_not_shown() -> None:
    """Invitations end up in logs and tracebacks."""
    invitation = Rendezvous("127.0.0.1").invitation
    assert invitation.secret not in repr(invitation)
