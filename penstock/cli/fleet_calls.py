"""The fleet of the local stack, as commands use it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_status import rpc_status

from penstock.cli.errors import NOTHING_THERE, CommandError
from penstock.client.channel import channel_options
from penstock.fleet.v1 import fleet_pb2_grpc
from penstock.local.control import running_stack
from penstock.local.paths import StateDir
from penstock_shared.credentials import FleetCredential
from penstock_shared.errors import PenstockError

ASK_TIMEOUT_S = 5.0
# Weights are read.
LOAD_TIMEOUT_S = 120.0

Ask = Callable[[str, Any, float], Any]


@contextmanager
def fleet_calls(state_dir: StateDir) -> Iterator[Ask]:
    """Calls methods of `FleetService` by name, with a request and a timeout in seconds.

    Raises:
        LocalError: nothing runs.
        CommandError: the fleet cannot be asked, or refuses; says why.
    """
    address = running_stack(state_dir).addresses.fleet
    with grpc.insecure_channel(address, options=channel_options(address)) as channel:
        stub = fleet_pb2_grpc.FleetServiceStub(channel)

        def ask(method: str, request: Any, timeout_s: float) -> Any:
            try:
                metadata = FleetCredential.load(state_dir.credential_file).metadata()
                return getattr(stub, method)(request, timeout=timeout_s, metadata=metadata)
            except grpc.RpcError as error:
                # Without details of ours it is the transport that speaks: nobody listens there.
                if error.code() is grpc.StatusCode.UNAVAILABLE and rpc_status.from_call(error) is None:
                    raise CommandError(f"no fleet at {address}; see `penstock status`", NOTHING_THERE) from error
                raise CommandError(str(error.details())) from error
            except PenstockError as error:
                raise CommandError(str(error)) from error

        yield ask
