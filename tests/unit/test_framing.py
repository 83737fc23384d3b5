"""A connection knows that it has begun another head, wherever its bytes are cut, as far as the parser's results show that."""

from __future__ import annotations

import asyncio

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.web.server.framing import Framing

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{\r\n\r\n\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


def framed(chunks: list[bytes]) -> Framing:
    """Return the state after these chunks were received and parsed."""
    framing, loop = Framing(), asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16)
        for chunk in chunks:
            messages, _, _ = parser.feed_data(chunk)
            framing.received(chunk, messages)
    finally:
        loop.close()
    return framing


def in_pieces(raw: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(raw) + 1) for cut in cuts} | {len(raw)} - {0})
    return [raw[begin:end] for begin, end in zip([0, *ends], ends, strict=False) if end > begin]


REQUESTS = st.lists(st.sampled_from([GET, POST, CHUNKED]), max_size=4)


@given(REQUESTS, st.sampled_from([GET, POST]), st.integers(1, 26), st.lists(st.integers(0, 500), max_size=6))
@example([POST], GET, 5, [])
@example([POST, POST], GET, 5, [100])
def test_a_head_that_has_begun_is_seen_wherever_it_was_cut(
    whole: list[bytes], next_one: bytes, cut: int, cuts: list[int]
) -> None:
    assert framed(in_pieces(b"".join(whole) + next_one[:cut], cuts)).half


@given(REQUESTS)
def test_nothing_has_begun_after_whole_requests(whole: list[bytes]) -> None:
    """A chunked body that arrives together with another request is exempt: it counts as begun, and that ends after 15 s."""
    assert not framed(whole).half
    if CHUNKED not in whole[:-1]:
        assert not framed([b"".join(whole)] if whole else []).half


@given(st.sampled_from([GET, POST]), st.integers(1, 60))
def test_nothing_has_begun_after_a_request_in_two_pieces(raw: bytes, cut: int) -> None:
    """A cut inside the end of the head is exempt."""
    cut = min(cut, len(raw) - 1)
    head = raw.index(b"\r\n\r\n") + 4
    if not head - 4 < cut < head:
        assert not framed([raw[:cut], raw[cut:]]).half
