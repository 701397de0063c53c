"""Where a command finds its gateway and model, and how it tells that a call failed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.cli.errors import FAILED, NOTHING_THERE, CommandError
from penstock.client import (
    Client,
    DeadlineExceededError,
    HandshakeError,
    Model,
    PenstockError,
    UnauthenticatedError,
    UnavailableError,
)
from penstock.local.state import StackState

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_DEFAULT_ADDRESS = "127.0.0.1:50051"


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """How a command reaches a gateway.

    Attributes:
        address: host:port; None: the local stack's, else the usual one.
        api_key: shown to it; None: none is.
        is_insecure: whether the key may go unencrypted to another machine.
        tls_ca: certificates to trust; None: plaintext.
        tls_cert, tls_key: the client's own.
        tls_server_name: expected in the gateway's certificate; None: the address.
    """

    address: str | None
    api_key: str | None = field(default=None, repr=False)
    is_insecure: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_server_name: str | None = None

    def trusting(self, state: StackState | None) -> "GatewayAccess":
        """The same; where it means the local stack's gateway, that one's certificate is trusted."""
        if state is None or state.tls_cert is None or self.address is not None:
            return self
        return replace(self, tls_ca=self.tls_ca or Path(state.tls_cert))

    def client_options(self) -> dict[str, Any]:
        """As arguments of a client."""
        return {
            "api_key": self.api_key,
            "insecure": self.is_insecure,
            "tls_ca": self.tls_ca,
            "tls_cert": self.tls_cert,
            "tls_key": self.tls_key,
            "tls_server_name": self.tls_server_name,
        }


def gateway_address(address: str | None, state: StackState | None) -> str:
    """The address given, else that of the local stack, else the usual one."""
    return address or (state.addresses.gateway if state else _DEFAULT_ADDRESS)


def open_client(target: str, access: GatewayAccess, *, timeout_s: float, tracer: "Tracer | None" = None) -> Client:
    """A client of the gateway at `target`.

    Raises:
        CommandError: the API key must not go there, or a TLS file is no good.
    """
    try:
        return Client(target, **access.client_options(), timeout_s=timeout_s, tracer=tracer)
    except ValueError as error:
        raise CommandError(str(error)) from error


def choose_model(models: Sequence[Model], name: str | None) -> Model:
    """The model of that name; without a name, the only one.

    Raises:
        CommandError: there is no such model, or none, or a choice to make.
    """
    chosen = [model for model in models if name in (None, model.name)]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(model.name for model in models) or "none"
    raise CommandError(
        f"which model? name one with --model; served: {names}"
        if name is None
        else f"no model {name!r}; served: {names}"
    )


def explained(error: PenstockError, address: str, timeout_s: float) -> CommandError:
    """What to tell of a failed call to `address`, with the way out."""
    if isinstance(error, HandshakeError):
        return CommandError(f"cannot talk to {address}: {error.message}; see the options --tls-...", FAILED)
    if isinstance(error, UnavailableError) and error.reason is None:
        return CommandError(f"no gateway at {address}; start one with `penstock up`", NOTHING_THERE)
    if isinstance(error, DeadlineExceededError):
        return CommandError(f"no whole answer within {timeout_s:g} s; allow more with --timeout", FAILED)
    if isinstance(error, UnauthenticatedError):
        return CommandError(f"{error.message}; give a key with --api-key or PENSTOCK_API_KEY", FAILED)
    is_told = error.retry_after_s is None or "try again in" in error.message
    hint = "" if is_told else f"; try again in {error.retry_after_s:g} s"
    return CommandError(f"{error.message}{hint}", FAILED)
