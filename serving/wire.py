"""The one message of gRPC that clients send us, written by hand: it takes no generated code, and no library."""

METHOD = "org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"


def field(number: int, value: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    length, size = bytearray(), len(value)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + value
