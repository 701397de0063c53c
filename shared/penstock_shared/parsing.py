"""Requests out of bytes. What does not parse is the caller's error and says what is wrong with it."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from penstock_shared.errors import InvalidArgumentError
from penstock_shared.wire import has_more_fields

_LENGTH_DELIMITED = 2
# Far above any honest request: lists of numbers are packed and count once.
_MAX_FIELDS = 100_000
# The search makes an object of each field, far slower than the parser: no bad message may hold a server up.
_MAX_SEARCHED_BYTES = 64 * 1024


def parse_request(deserialize: Callable[[bytes], Any], data: bytes) -> Any:
    """The message of `data`.

    Args:
        deserialize: `FromString` of a message class, as generated code registers it.
        data: as received.

    Raises:
        InvalidArgumentError: `data` is no such message, or has too many fields. Names the type, or the field whose text
            is not UTF-8.
    """
    descriptor: Descriptor | None = getattr(getattr(deserialize, "__self__", None), "DESCRIPTOR", None)
    if descriptor is not None and has_more_fields(data, descriptor, _MAX_FIELDS):
        allowed = f"at most {_MAX_FIELDS} fields in one message, entries of lists included"
        raise InvalidArgumentError(descriptor.full_name, f"more than {_MAX_FIELDS} fields", allowed)
    try:
        return deserialize(data)
    except DecodeError:
        raise _explained(data, descriptor) from None


def _explained(data: bytes, descriptor: Descriptor | None) -> InvalidArgumentError:
    if descriptor is None:
        return InvalidArgumentError("message", f"{len(data)} bytes", "a serialized message")
    found = _find_bad_text(data, descriptor) if len(data) <= _MAX_SEARCHED_BYTES else None
    if found is None:
        return InvalidArgumentError(
            descriptor.full_name,
            f"{len(data)} bytes that do not parse",
            "a serialized message of this type, with UTF-8 in its string fields",
        )
    path, error = found
    value = f"byte 0x{error.object[error.start]:02x} at position {error.start}"
    return InvalidArgumentError(path, value, f"UTF-8 (a string field of {descriptor.full_name})")


def _find_bad_text(data: bytes, descriptor: Descriptor) -> tuple[str, UnicodeDecodeError] | None:
    """The first string field that is not UTF-8, as a path; None where something else is wrong.

    Read as an empty message, every field is an unknown one, and those can be listed with their bytes.
    """
    try:
        fields = UnknownFieldSet(Empty.FromString(data))
    except DecodeError:
        return None
    num_seen: Counter[int] = Counter()
    for unknown in (fields[index] for index in range(len(fields))):
        field = descriptor.fields_by_number.get(unknown.field_number)
        if field is None or unknown.wire_type != _LENGTH_DELIMITED:
            continue
        name = f"{field.name}[{num_seen[field.number]}]" if field.is_repeated else field.name
        num_seen[field.number] += 1
        found = _bad_text_within(unknown.data, field)
        if found is not None:
            path, error = found
            return f"{name}.{path}" if path else name, error
    return None


def _bad_text_within(value: bytes, field: FieldDescriptor) -> tuple[str, UnicodeDecodeError] | None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        assert field.message_type is not None
        return _find_bad_text(value, field.message_type)
    if field.type == FieldDescriptor.TYPE_STRING:
        try:
            value.decode()
        except UnicodeDecodeError as error:
            return "", error
    return None
