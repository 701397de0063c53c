"""The error tree: every error that may leave a service, with its gRPC code and what the caller needs to mend it.

`to_rich_status` turns an error into a `google.rpc` status with `ErrorInfo` and, where they apply, `BadRequest`,
`RetryInfo` and `QuotaFailure`. `to_proto_error` and `from_proto_error` carry one inside a message (one item of many).
"""

from collections.abc import Iterable

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from penstock.types.v1 import types_pb2

_DOMAIN = "penstock"
_MAX_SHOWN_CHARS = 80
_CODE_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class PenstockError(Exception):
    """Base of the tree.

    Attributes:
        code: the gRPC status code it leaves with.
        reason: stable upper-case name, `ErrorInfo.reason`.
        message: one line for the caller to read.
        field: path of the offending request field, where there is one.
        retry_after_s: when to come back, in seconds, where that makes sense.
    """

    code = grpc.StatusCode.INTERNAL
    reason = "INTERNAL"

    def __init__(self, message: str, *, field: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s

    def details(self) -> list[Message]:
        """The `google.rpc` details that describe this error."""
        found: list[Message] = [error_details_pb2.ErrorInfo(reason=self.reason, domain=_DOMAIN)]
        if self.field is not None:
            violation = error_details_pb2.BadRequest.FieldViolation(field=self.field, description=self.message)
            found.append(error_details_pb2.BadRequest(field_violations=[violation]))
        if self.retry_after_s is not None:
            delay = Duration()
            delay.FromNanoseconds(int(self.retry_after_s * 1e9))
            found.append(error_details_pb2.RetryInfo(retry_delay=delay))
        return found


class InvalidArgumentError(PenstockError):
    """The caller sent something that is not allowed: the caller's to mend."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_ARGUMENT"

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}: got {_shown(value)}; allowed: {allowed}", field=field)


class NotFoundError(PenstockError):
    """The named thing does not exist: the caller's to mend."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"

    def __init__(self, kind: str, name: str, known: Iterable[str] = (), *, field: str | None = None) -> None:
        known = sorted(known)
        hint = f"; there is: {', '.join(known)}" if known else ""
        super().__init__(f"no {kind} {_shown(name)}{hint}", field=field or kind)


class UnimplementedError(PenstockError):
    """A field or RPC whose mechanism this version does not have."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "UNIMPLEMENTED"

    def __init__(self, feature: str) -> None:
        super().__init__(f"{feature} is not available in this version")
        self.feature = feature


class ResourceExhaustedError(PenstockError):
    """A bound is reached: expected under load, retry later."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, quota: str, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.quota = quota

    def details(self) -> list[Message]:
        """Adds the `QuotaFailure` that names the bound."""
        violation = error_details_pb2.QuotaFailure.Violation(subject=self.quota, description=self.message)
        return [*super().details(), error_details_pb2.QuotaFailure(violations=[violation])]


class UnavailableError(PenstockError):
    """Nobody can serve this now: expected during restarts, safe to retry."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"


class FailedPreconditionError(PenstockError):
    """The system is not in the state that the call needs."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "FAILED_PRECONDITION"


class UnauthenticatedError(PenstockError):
    """Credentials are missing, wrong or expired."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class DeadlineExceededError(PenstockError):
    """The deadline passed; nothing goes on in the background."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class RequestCancelledError(PenstockError):
    """The caller went away: expected."""

    code = grpc.StatusCode.CANCELLED
    reason = "CANCELLED"


class InternalError(PenstockError):
    """A defect of ours; the message carries no internals."""


def to_rich_status(error: PenstockError) -> "rpc_status._Status":
    """The trailing status of an RPC that failed with `error`."""
    status = status_pb2.Status(code=error.code.value[0], message=error.message)
    for detail in error.details():
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return rpc_status.to_status(status)


def to_proto_error(error: PenstockError) -> types_pb2.Error:
    """`error` as an item's error inside a message."""
    return types_pb2.Error(
        code=error.code.value[0], message=error.message, field=error.field or "", reason=error.reason
    )


def from_proto_error(error: types_pb2.Error) -> PenstockError:
    """The reverse of `to_proto_error`; an unknown code becomes INTERNAL."""
    made = PenstockError(error.message, field=error.field or None)
    made.code = _CODE_BY_NUMBER.get(error.code, grpc.StatusCode.INTERNAL)
    made.reason = error.reason or code_pb2.Code.Name(made.code.value[0])
    return made


def from_rpc_error(error: grpc.RpcError) -> PenstockError:
    """The reverse of `to_rich_status`, for a call to another service that failed."""
    made = PenstockError(error.details() or "")
    made.code = error.code()
    made.reason = made.code.name
    status = rpc_status.from_call(error)
    for packed in () if status is None else status.details:
        _take_detail(made, packed)
    return made


def _take_detail(error: PenstockError, packed: AnyMessage) -> None:
    violations, info, retry = (
        error_details_pb2.BadRequest(),
        error_details_pb2.ErrorInfo(),
        error_details_pb2.RetryInfo(),
    )
    if packed.Unpack(violations) and violations.field_violations:
        error.field = violations.field_violations[0].field
    elif packed.Unpack(info):
        error.reason = info.reason
    elif packed.Unpack(retry):
        error.retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else text[: _MAX_SHOWN_CHARS - 1] + "…"
