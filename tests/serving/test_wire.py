"""The reader of protocol buffers, against the messages of the library."""

import random

import pytest
from google.protobuf import struct_pb2, wrappers_pb2

from serving.wire import WireError, field, number_field, read_bytes_field, read_fields


def test_a_field_of_every_length_to_70000_is_read_as_it_was_written() -> None:
    """A length prefix holds any byte, that of `{` among them."""
    value = b"{" * 70_000
    assert all(read_bytes_field(field(1, value[:size]), 1) == value[:size] for size in range(1, 70_001))


@pytest.mark.parametrize("size", [0, 1, 121, 123, 127, 128, 376, 16383, 16384, 70_000])
def test_a_field_is_written_as_the_library_writes_it(size: int) -> None:
    value = b"{" * size
    message = wrappers_pb2.BytesValue(value=value).SerializeToString()
    assert read_bytes_field(message, 1) == value
    assert wrappers_pb2.BytesValue.FromString(field(1, value)).value == value


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16383, 16384, 2**32, 2**64 - 1])
def test_a_number_is_read_as_the_library_writes_it(value: int) -> None:
    message = wrappers_pb2.UInt64Value(value=value).SerializeToString()
    assert dict(read_fields(message)).get(1, 0) == value
    assert wrappers_pb2.UInt64Value.FromString(number_field(1, value)).value == value


def test_more_fields_than_allowed_are_refused_before_they_are_read() -> None:
    message = field(3, b"") * 500_000
    with pytest.raises(WireError, match="more than 64 fields"):
        list(read_fields(message))
    assert len(list(read_fields(field(3, b"") * 64))) == 64


@pytest.mark.parametrize(
    "message",
    [b"\x0a", b"\x0a\x05abc", b"\x08", b"\x08" + b"\xff" * 10, b"\x0b", b"\x0c", b"\x0e", b"\x00\x00", b"\x0d\x00"],
)
def test_a_broken_message_is_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        list(read_fields(message))


def test_random_bytes_are_read_or_refused_and_nothing_else() -> None:
    generator = random.Random(7)
    sound = struct_pb2.Struct(fields={"a": struct_pb2.Value(string_value="b")}).SerializeToString()
    for _ in range(20_000):
        broken = bytearray(sound * 3)
        for _ in range(generator.randrange(4)):
            broken[generator.randrange(len(broken))] = generator.randrange(256)
        try:
            for _, value in read_fields(bytes(broken)):
                assert isinstance(value, int) or len(value) <= len(broken)
        except WireError:
            pass
