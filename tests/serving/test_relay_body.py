"""Tests of how the relay sends a body that it has received in chunks."""

import asyncio

import pytest

from serving.gateway.relay.body import ONE_PIECE, SMALL, Body


def body(*sizes: int) -> Body:
    return Body([b"x" * size for size in sizes], sum(sizes))


async def sent(received: Body) -> list[bytes]:
    """Return the pieces that the client library is given."""
    payload = received.payload()
    if payload is None:
        return []
    if isinstance(payload, (bytes, memoryview)):
        return [bytes(payload)]
    return [bytes(piece) async for piece in payload]


@pytest.mark.parametrize(
    ("received", "pieces"),
    [
        (body(), []),
        (body(10, 20), [30]),
        (body(SMALL // 2, SMALL // 2), [SMALL]),
        (body(SMALL, 1), [SMALL, 1]),
        (body(ONE_PIECE), [ONE_PIECE]),
        (body(ONE_PIECE + 1), [ONE_PIECE + 1]),
    ],
)
def test_small_bodies_are_sent_in_one_piece_and_large_ones_as_they_came(received: Body, pieces: list[int]) -> None:
    assert [len(piece) for piece in asyncio.run(sent(received))] == pieces
