"""Protocol buffers, as far as reading and changing an ONNX file takes them.

Where archives of the CPU are packed and served, there is no package onnx.
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# A field's number, its encoding as a whole, and its value where that is bytes.
Field = tuple[int, memoryview, memoryview]


def read_fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message in order.

    Raises:
        ValueError, IndexError: it is broken.
    """
    at = 0
    while at < len(message):
        start = at
        tag, at = read_varint(message, at)
        kind, value = tag & 7, message[:0]
        if kind == VARINT:
            _, at = read_varint(message, at)
        elif kind == BYTES:
            size, at = read_varint(message, at)
            value, at = message[at : at + size], at + size
        elif kind in (FIXED32, FIXED64):
            at += 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"a field is of kind {kind}")
        if at > len(message):
            raise ValueError("a field is cut off")
        yield tag >> 3, message[start:at], value


def read_varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at `at`, and where the next field begins."""
    number = shift = 0
    while True:
        byte = message[at]
        number, at, shift = number | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return number, at


def read_number(whole: memoryview) -> int:
    """Return the value of a field that is a number of 64 bits with a sign."""
    _, at = read_varint(whole, 0)
    number, _ = read_varint(whole, at)
    return number - (1 << 64) if number >> 63 else number


def encode_bytes(number: int, value: bytes | memoryview) -> bytes:
    """Return a field whose value is bytes, text or a message."""
    return encode_varint(number << 3 | BYTES) + encode_varint(len(value)) + value


def encode_number(number: int, value: int) -> bytes:
    """Return a field whose value is a number that is not negative."""
    return encode_varint(number << 3 | VARINT) + encode_varint(value)


def encode_varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])
