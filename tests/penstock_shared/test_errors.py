"""Every error that leaves a service tells its reader what to mend."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from penstock_shared import errors


def _unpack(error: errors.PenstockError) -> tuple[status_pb2.Status, dict[str, object]]:
    rich = errors.to_rich_status(error)
    (value,) = (value for key, value in rich.trailing_metadata if key == "grpc-status-details-bin")
    status = status_pb2.Status.FromString(value)
    details = {}
    for packed in status.details:
        kind = getattr(error_details_pb2, packed.type_url.rsplit(".", 1)[1])
        details[kind.DESCRIPTOR.name] = kind.FromString(packed.value)
    return status, details


def test_invalid_argument_names_field_value_and_what_is_allowed() -> None:
    """A caller mends its request from the message alone."""
    error = errors.InvalidArgumentError("request.sampling.temperature", 9.5, "0 to 2")
    status, details = _unpack(error)
    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert status.message == "request.sampling.temperature: got 9.5; allowed: 0 to 2"
    (violation,) = details["BadRequest"].field_violations
    assert violation.field == "request.sampling.temperature"


def test_a_long_value_is_cut_in_the_message() -> None:
    """A 10 MB prompt must not come back in its own error."""
    assert len(errors.InvalidArgumentError("request.model", "x" * 10_000_000, "a name").message) < 200


def test_resource_exhausted_says_which_bound_and_when_to_return() -> None:
    """Clients back off by the server's word, not by guessing."""
    error = errors.ResourceExhaustedError("too many requests", quota="tenant default: requests", retry_after_s=1.5)
    _, details = _unpack(error)
    assert details["RetryInfo"].retry_delay.ToNanoseconds() == 1_500_000_000
    assert details["QuotaFailure"].violations[0].subject == "tenant default: requests"


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidArgumentError("a.b", 1, "2"),
        errors.UnimplementedError("request.adapter"),
        errors.UnavailableError("gone"),
        errors.InternalError("defect"),
    ],
)
def test_an_item_error_survives_the_wire(error: errors.PenstockError) -> None:
    """One failed item of many keeps its code, reason, field and message."""
    back = errors.from_proto_error(errors.to_proto_error(error))
    assert (back.code, back.reason, back.message, back.field) == (error.code, error.reason, error.message, error.field)
