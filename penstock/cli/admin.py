"""The gateway's port for operators, as commands use it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_status import rpc_status

from penstock.admin.v1 import admin_pb2_grpc
from penstock.cli.errors import NOTHING_THERE, CommandError
from penstock.client.channel import channel_options, is_loopback
from penstock.local.control import running_stack
from penstock.local.paths import StateDir
from penstock_shared.credentials import FleetCredential
from penstock_shared.errors import PenstockError

_Ask = Callable[[str, Any, float], Any]


@dataclass(frozen=True, slots=True)
class AdminAccess:
    """How a command reaches the port.

    Attributes:
        state_dir: of the local stack.
        address: host:port; None: the local stack's.
        credential_file: the fleet credential; None: the local stack's.
    """

    state_dir: StateDir
    address: str | None = None
    credential_file: Path | None = None

    def target(self) -> str:
        """host:port.

        Raises:
            LocalError: no address was given, and nothing runs.
            CommandError: it is that of another machine.
        """
        address = self.address or running_stack(self.state_dir).addresses.admin
        if not is_loopback(address):
            raise CommandError(
                f"--admin-address: got {address!r}; allowed: an address of this machine, for the fleet credential goes "
                "unencrypted (use a tunnel)"
            )
        return address


@contextmanager
def admin_calls(access: AdminAccess) -> Iterator[_Ask]:
    """Calls methods of `AdminService` by name, with a request (or an iterator of them) and a timeout in seconds.

    Raises:
        LocalError: nothing runs.
        CommandError: the port cannot be asked, or refuses; also while the answer of a streaming method is read.
    """
    address = access.target()
    with grpc.insecure_channel(address, options=channel_options(address)) as channel, _told(address):
        credential = FleetCredential.load(access.credential_file or access.state_dir.credential_file)
        stub = admin_pb2_grpc.AdminServiceStub(channel)

        def ask(method: str, request: Any, timeout_s: float) -> Any:
            return getattr(stub, method)(request, timeout=timeout_s, metadata=credential.metadata())

        yield ask


@contextmanager
def _told(address: str) -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        # Without details of ours it is the transport that speaks: nobody listens there.
        if error.code() is grpc.StatusCode.UNAVAILABLE and rpc_status.from_call(error) is None:
            raise CommandError(f"no gateway's port for operators at {address}", NOTHING_THERE) from error
        raise CommandError(str(error.details())) from error
    except PenstockError as error:
        raise CommandError(error.message) from error
