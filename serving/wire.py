"""Protocol buffers' wire format, read within bounds: what no generated parser does.

A generated parser builds an object for each of the entries that a stranger sent. This one yields slices of the
message, copies nothing, and stops after `limit` fields. Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

METHOD = "org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 64


class WireError(ValueError):
    """A message that is not in the wire format, or has more fields than are read."""


def varint(value: int) -> bytes:
    """Encode a whole number of at most 64 bits that is not negative."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def field(number: int, value: bytes) -> bytes:
    """Encode a length-delimited field: bytes, a string or a message."""
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def number_field(number: int, value: int) -> bytes:
    """Encode a field that holds a whole number, which must not be negative."""
    return varint(number << 3 | VARINT) + varint(value)


def read_fields(message: bytes | memoryview, limit: int = MAX_FIELDS) -> Iterator[tuple[int, int | memoryview]]:
    """Yield each field of a message: its number, and an int or, for a length-delimited one, a slice of the message.

    Raises:
        WireError: the message is broken, or has more than `limit` fields.
    """
    view, at = memoryview(message), 0
    for _ in range(limit):
        if at == len(view):
            return
        tag, at = _read_varint(view, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise WireError(f"there is no field number {number}")
        if kind == VARINT:
            value, at = _read_varint(view, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = _read_varint(view, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise WireError(f"there is no wire type {kind}")
        end = at + size
        if end > len(view):
            raise WireError("a field is cut off")
        yield number, view[at:end] if kind == BYTES else int.from_bytes(view[at:end], "little")
        at = end
    if at != len(view):
        raise WireError(f"it has more than {limit} fields")


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at == len(view):
            raise WireError("a number is cut off")
        byte = view[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >= 1 << 64:
                break
            return value, at
    raise WireError("a number has more than 64 bits")


def read_bytes_field(message: bytes | memoryview, wanted: int, limit: int = MAX_FIELDS) -> bytes:
    """Return the last length-delimited field with this number, or b"" where there is none.

    Raises:
        WireError: as `read_fields`.
    """
    return bytes(next(reversed(read_all(message, wanted, limit)), b""))


def read_all(message: bytes | memoryview, wanted: int, limit: int = MAX_FIELDS) -> list[memoryview]:
    """Return slices of the message: its length-delimited fields with this number.

    Raises:
        WireError: as `read_fields`.
    """
    fields = read_fields(message, limit)
    return [value for number, value in fields if number == wanted and isinstance(value, memoryview)]
