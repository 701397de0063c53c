"""How many fields the bytes of a message hold, told without making anything of them.

An empty message inside a list takes two bytes on the wire and a hundred in memory: 14 MB can become 750.
"""

from google.protobuf.descriptor import Descriptor, FieldDescriptor

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_LEAST_FIELD_BYTES = 2
_LONGEST_VARINT_BITS = 64


def has_more_fields(data: bytes, descriptor: Descriptor, maximum: int) -> bool:
    """Whether a message, with all messages inside it, has more than `maximum` fields; entries of lists count each.

    Costs nothing where the bytes are too few for so many, else about a microsecond a field, up to `maximum`. Bytes that
    are no message have as many as come before the fault.
    """
    if len(data) <= _LEAST_FIELD_BYTES * maximum:
        return False
    return _count(data, descriptor, maximum) > maximum


def _count(data: bytes, descriptor: Descriptor, maximum: int) -> int:
    num_fields = 0
    spans = [(0, len(data), descriptor)]
    while spans and num_fields <= maximum:
        at, end, kind = spans.pop()
        try:
            while at < end and num_fields <= maximum:
                num_fields += 1
                tag, at = _varint(data, at)
                wire_type = tag & 7
                if wire_type == _VARINT:
                    _, at = _varint(data, at)
                elif wire_type == _LENGTH_DELIMITED:
                    size, at = _varint(data, at)
                    part = _message_in(kind, tag >> 3)
                    if part is not None:
                        spans.append((at, min(at + size, end), part))
                    at += size
                else:
                    at += _FIXED_BYTES.get(wire_type, 0)
        except (IndexError, ValueError):
            continue  # a parser makes what stands before the fault, so that counts
    return num_fields


def _message_in(kind: Descriptor, number: int) -> Descriptor | None:
    """What a field of a message holds, where that is a message."""
    field = kind.fields_by_number.get(number)
    if field is None or field.type != FieldDescriptor.TYPE_MESSAGE:
        return None
    return field.message_type


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends."""
    value = shift = 0
    while (byte := data[at]) & 0x80:
        value |= (byte & 0x7F) << shift
        shift += 7
        if shift > _LONGEST_VARINT_BITS:
            raise ValueError("no number is that long")
        at += 1
    return value | byte << shift, at + 1
