"""The exceptions of the client: one class for each gRPC code that a caller treats differently."""

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from penstock.client.tls import handshake_hint


class PenstockError(Exception):
    """Base of all errors of a call. Raised itself only for a code that has no class of its own.

    Attributes:
        code: the gRPC status code.
        message: for people; names the field, its value and what is allowed, where a field is wrong.
        field: path of the offending request field, where there is one.
        reason: stable name of the error (`google.rpc.ErrorInfo.reason`). None where the server never saw the call,
            as when nothing listens at the address.
        retry_after_s: seconds after which a retry has a chance, where the server said so.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        field: str | None = None,
        reason: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.reason = reason
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


class InvalidArgumentError(PenstockError):
    """A field of the request is out of its range; `field` names it. Fix the request."""


class NotFoundError(PenstockError):
    """No such model. Fix the request."""


class UnauthenticatedError(PenstockError):
    """Credentials are missing, wrong or expired."""


class PermissionDeniedError(PenstockError):
    """The credentials do not allow this."""


class FailedPreconditionError(PenstockError):
    """The server is not in the state that this needs, as for a resume token whose model is no longer served."""


class ResourceExhaustedError(PenstockError):
    """Over an admission bound. Expected under load: come back after `retry_after_s`."""


class UnavailableError(PenstockError):
    """Nothing can serve the call now. Expected during restarts; safe to retry."""


class HandshakeError(UnavailableError):
    """Something answers at the address, and the two sides do not agree on TLS. Fix the options of the client."""


class DeadlineExceededError(PenstockError):
    """The deadline passed. Nothing goes on in the background."""


class RequestCancelledError(PenstockError):
    """The call was cancelled, here (the stream was closed while it was read) or by the server."""


class UnimplementedError(PenstockError):
    """This server does not have the mechanism that the message names."""


class InternalError(PenstockError):
    """A defect of the server, or an answer that breaks the contract."""


_CLASSES: dict[grpc.StatusCode, type[PenstockError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPreconditionError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.CANCELLED: RequestCancelledError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
    grpc.StatusCode.INTERNAL: InternalError,
}


def error_from_call(call: grpc.RpcError) -> PenstockError:
    """The exception for a failed call (sync or asyncio), with what its `google.rpc` details say."""
    code = call.code()
    field = reason = retry_after_s = None
    for detail in _rich_details(call):
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            reason = error_details_pb2.ErrorInfo.FromString(detail.value).reason
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            violations = error_details_pb2.BadRequest.FromString(detail.value).field_violations
            field = violations[0].field if violations else None
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
            retry_after_s = delay.seconds + delay.nanos * 1e-9
    message = call.details() or "the server gave no reason"
    hint = handshake_hint(message) if code is grpc.StatusCode.UNAVAILABLE else None
    if hint is not None:
        return HandshakeError(code, f"{hint} ({message})")
    return make_error(code, message, field=field, reason=reason, retry_after_s=retry_after_s)


def make_error(
    code: grpc.StatusCode,
    message: str,
    *,
    field: str | None = None,
    reason: str | None = None,
    retry_after_s: float | None = None,
) -> PenstockError:
    """An exception of the class that belongs to `code`."""
    error_class = _CLASSES.get(code, PenstockError)
    return error_class(code, message, field=field, reason=reason, retry_after_s=retry_after_s)


def _rich_details(call: grpc.RpcError) -> list[any_pb2.Any]:
    """The details of a status; none where a proxy on the way mangled them: its code and message still arrive."""
    try:
        status: status_pb2.Status | None = rpc_status.from_call(call)
    except (ValueError, DecodeError):
        return []
    return [] if status is None else list(status.details)
