"""The HTTP client against servers that answer byte by byte as they are told to: what decides, and what a connection is good for.

Each row says what a server answers to the first request, what it means, and whether the connection may carry the second one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.outcome import Defer, Delivered, Reason, Retry
from gateway.core.values import Duration
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.net.http_answer import MOST_BODY, AnswerReader, NotHttpError
from tests.sinks.conftest import Certificates
from tests.sinks.http_server import answer, read_request
from tests.sinks.loops import send_end
from tests.sinks.sending import PATIENCE, opened, outgoing, send
from tests.sinks.tcp_server import Server, reset_connection

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"content-length: 0\r\n\r\n"
KEPT, CLOSED = True, False
BRIEF = Duration("800ms")
"""The timeout of an attempt; the sink waits a quarter of a second less for the rest of an answer."""


class Row(NamedTuple):
    says: bytes
    status: int | None
    """The status that counts; None if the bytes are not an answer of HTTP/1."""
    kept: bool
    body: bytes = b""
    surplus: int = 0
    """Bytes that come with the answer, after its end. Once the next request is sent, they could be taken for its answer."""


ROWS = {
    "plain": Row(OK + b"content-length: 2\r\n\r\nok", 200, KEPT, b"ok"),
    "no reason": Row(b"HTTP/1.1 200 \r\n" + EMPTY, 200, KEPT),
    "no reason and no blank": Row(b"HTTP/1.1 200\r\n" + EMPTY, 200, KEPT),
    "a reason beyond ASCII": Row(b"HTTP/1.1 200 \xe5\xa5\xbd\r\n" + EMPTY, 200, KEPT),
    "a control character in the reason": Row(b"HTTP/1.1 200 O\x00K\r\n" + EMPTY, 200, CLOSED),
    "close": Row(OK + b"connection: close\r\n" + EMPTY, 200, CLOSED),
    "close among others": Row(OK + b"Connection: keep-alive, Close\r\n" + EMPTY, 200, CLOSED),
    "HTTP/1.0": Row(b"HTTP/1.0 200 OK\r\n" + EMPTY, 200, CLOSED),
    "HTTP/1.0 kept": Row(b"HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\n" + EMPTY, 200, KEPT),
    "HTTP/1.0 chunked": Row(b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 200, CLOSED),
    "kept for a second": Row(OK + b"keep-alive: timeout=1\r\n" + EMPTY, 200, CLOSED),
    "kept for five": Row(OK + b"keep-alive: timeout=5, max=100\r\n" + EMPTY, 200, KEPT),
    "204": Row(b"HTTP/1.1 204 No Content\r\n\r\n", 204, KEPT),
    "204 with a length": Row(b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n", 204, KEPT),
    "204 with a body": Row(b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok", 204, CLOSED, b"", 2),
    "304 with a length": Row(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n", 304, KEPT),
    "205": Row(b"HTTP/1.1 205 Reset Content\r\n" + EMPTY, 205, KEPT),
    "status that no list has": Row(b"HTTP/1.1 799 Odd\r\n" + EMPTY, 799, KEPT),
    "body without length": Row(OK + b"\r\nok", 200, CLOSED, b"ok"),
    "body cut short": Row(OK + b"content-length: 9\r\n\r\nok", 200, CLOSED, b"ok"),
    "too much": Row(OK + b"content-length: 2\r\n\r\nokay", 200, CLOSED, b"ok", 2),
    "a line break too much": Row(OK + b"content-length: 2\r\n\r\nok\r\n", 200, CLOSED, b"ok", 2),
    "two answers at once": Row(OK + EMPTY + b"HTTP/1.1 299 Stale\r\n" + EMPTY, 200, CLOSED, b"", 41),
    "a line break first": Row(b"\r\n" + OK + EMPTY, 200, CLOSED),
    "lines of LF": Row(b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", 200, CLOSED, b"ok"),
    "big body": Row(OK + b"content-length: 100000\r\n\r\n" + b"x" * 100_000, 200, CLOSED, b"x" * MOST_BODY),
    "body of 16 KiB": Row(OK + b"content-length: 16384\r\n\r\n" + b"x" * MOST_BODY, 200, KEPT, b"x" * MOST_BODY),
    "8,400 bytes in a field": Row(OK + b"x: " + b"y" * 8400 + b"\r\n" + EMPTY, 200, KEPT),
    "60,000 bytes in a field": Row(OK + b"x: " + b"y" * 60_000 + b"\r\n" + EMPTY, 200, KEPT),
    "100,000 bytes in a field": Row(OK + b"x: " + b"y" * 100_000 + b"\r\n" + EMPTY, 200, CLOSED),
    "100,000 bytes of reason": Row(b"HTTP/1.1 200 " + b"y" * 100_000 + b"\r\n" + EMPTY, 200, CLOSED),
    "256 fields": Row(OK + b"x: y\r\n" * 255 + EMPTY, 200, KEPT),
    "257 fields": Row(OK + b"x: y\r\n" * 256 + EMPTY, 200, CLOSED),
    "5,000 fields": Row(OK + b"x: y\r\n" * 5000 + EMPTY, 200, CLOSED),
    "a line that is no field": Row(OK + b"bad header line\r\n" + EMPTY, 200, CLOSED),
    "a blank before the colon": Row(OK + b"x : y\r\n" + EMPTY, 200, CLOSED),
    "a folded field": Row(OK + b"x: y\r\n z\r\n" + EMPTY, 200, CLOSED),
    "a field without a name": Row(OK + b": y\r\n" + EMPTY, 200, CLOSED),
    "NUL in a field": Row(OK + b"x: \x00\r\n" + EMPTY, 200, CLOSED),
    "CR in a field": Row(OK + b"x: a\rb\r\n" + EMPTY, 200, CLOSED),
    "Latin-1 in a field": Row(OK + b"x: \xe9\r\n" + EMPTY, 200, KEPT),
    "the same length twice": Row(OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok", 200, CLOSED, b"ok"),
    "two lengths": Row(OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok", 200, CLOSED, b"ok"),
    "a length below zero": Row(OK + b"content-length: -1\r\n\r\nok", 200, CLOSED, b"ok"),
    "a length with a sign": Row(OK + b"content-length: +2\r\n\r\nok", 200, CLOSED, b"ok"),
    "a length of 40 digits": Row(OK + b"content-length: " + b"9" * 40 + b"\r\n\r\nok", 200, CLOSED, b"ok"),
    "a length that is a word": Row(OK + b"content-length: two\r\n\r\nok", 200, CLOSED, b"ok"),
    "length and chunks": Row(
        OK + b"content-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, CLOSED, b"ok"
    ),
    "chunks": Row(OK + b"Transfer-Encoding: Chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", 200, KEPT, b"ok"),
    "chunks with extensions": Row(OK + b'transfer-encoding: chunked\r\n\r\n2;a="b"\r\nok\r\n000;c\r\n\r\n', 200, KEPT, b"ok"),
    "chunks with a trailer": Row(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n", 200, KEPT, b"ok"),
    "chunks with an odd trailer": Row(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nodd\r\n\r\n", 200, CLOSED, b"ok"),
    "chunks and more": Row(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n", 200, CLOSED, b"ok", 2),
    "chunks without an end": Row(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n", 200, CLOSED, b"ok"),
    "chunk of garbage": Row(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\nxyz\r\n", 200, CLOSED, b"ok"),
    "chunk longer than its size": Row(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n", 200, CLOSED, b"ok"),
    "chunk size below zero": Row(OK + b"transfer-encoding: chunked\r\n\r\n-1\r\n", 200, CLOSED),
    "chunk size of 40 digits": Row(OK + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n", 200, CLOSED),
    "chunk line without end": Row(OK + b"transfer-encoding: chunked\r\n\r\n" + b"1;" + b"x" * 5000, 200, CLOSED),
    "chunked twice": Row(OK + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 200, CLOSED),
    "chunked and then gzip": Row(OK + b"transfer-encoding: chunked, gzip\r\n\r\nok", 200, CLOSED, b"ok"),
    "100 before": Row(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + EMPTY, 200, KEPT),
    "103 before": Row(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 3 + OK + EMPTY, 200, KEPT),
    "too many before": Row(b"HTTP/1.1 100 Continue\r\n\r\n" * 17 + OK + EMPTY, None, CLOSED),
    "101": Row(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", 101, CLOSED),
    "an upgrade that is only offered": Row(OK + b"upgrade: h2,h2c\r\nconnection: upgrade\r\n" + EMPTY, 200, KEPT),
    "garbage": Row(b"\x00garbage\r\n\r\n", None, CLOSED),
    "another protocol": Row(b"SSH-2.0-OpenSSH_9.2\r\n", None, CLOSED),
    "HTTP/2": Row(b"HTTP/2 200\r\n" + EMPTY, None, CLOSED),
    "lower case": Row(b"http/1.1 200 OK\r\n" + EMPTY, None, CLOSED),
    "a status of two digits": Row(b"HTTP/1.1 20 OK\r\n" + EMPTY, None, CLOSED),
    "no status": Row(b"HTTP/1.1 OK\r\n" + EMPTY, None, CLOSED),
}


class Scripted(Server):
    """Answers the first request as a test tells it to, and each later one with 202. It records the attempts of its requests."""

    def __init__(self, pieces: Sequence[bytes], tls: object = None) -> None:
        super().__init__(self._converse, tls)  # type: ignore[arg-type]
        self._pieces = pieces
        self.heard: list[str | None] = []

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            self.heard.append((await read_request(reader)).header("x-gateway-attempt"))
            if len(self.heard) > 1:
                writer.write(answer(202))
                continue
            for piece in self._pieces:
                writer.write(piece)
                await writer.drain()
                for _ in range(3):
                    await asyncio.sleep(0)


def split(row: Row, size: int) -> list[bytes]:
    if not size:
        return [row.says]
    size = size if len(row.says) < 500 else 7_001
    last = max(len(row.says) - row.surplus - 1, 0)
    return [*(row.says[at : min(at + size, last)] for at in range(0, last, size)), row.says[last:]]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("size", [0, 1], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("name", ROWS)
async def test_each_answer_has_its_outcome_and_decides_about_its_connection(
    name: str, size: int, tls: bool, certificates: Certificates, tmp_path: Path
) -> None:
    row = ROWS[name]
    async with (
        Scripted(split(row, size), certificates("good") if tls else None) as server,
        opened(HttpConfig(url=server.url, timeout=BRIEF), tmp_path) as sink,
    ):
        outcome = await send(sink, outgoing(attempt=1))
        again = await send(sink, outgoing(attempt=2))
    if row.status is None:
        assert isinstance(outcome, Retry)
        assert (outcome.reason, outcome.status) == (Reason.PROTOCOL, None)
    else:
        assert outcome.status == row.status
        assert isinstance(outcome, Delivered if 200 <= row.status < 300 else Retry)
    assert again == Delivered(202)
    assert server.heard == ["1", "2"]
    assert server.connections == (1 if row.kept else 2)


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].status is not None])
@given(data=st.data())
@settings(max_examples=15)
def test_an_answer_is_read_the_same_way_in_any_pieces(name: str, data: st.DataObject) -> None:
    row = ROWS[name]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(row.says)), max_size=8)))
    reader = AnswerReader()
    for start, end in zip([0, *cuts], [*cuts, len(row.says)], strict=True):
        if start < end:
            reader.feed(row.says[start:end])
    kept = reader.reusable and (reader.kept_for is None or reader.kept_for > 1)
    reader.end()
    assert reader.done
    assert (reader.status, bytes(reader.body), kept) == (row.status, row.body, row.kept)


def read(pieces: Sequence[bytes]) -> tuple[object, ...]:
    """Return what a reader knows after these pieces; the end of the connection follows them."""
    reader = AnswerReader()
    try:
        for piece in pieces:
            reader.feed(piece)
    except NotHttpError:
        return ("not HTTP", reader.status)
    kept = reader.reusable
    reader.end()
    return reader.status, reader.retry_after, bytes(reader.body), reader.done, kept, reader.kept_for


LINES = st.sampled_from(
    [
        *(
            b"content-length: 2",
            b"Content-Length: 2",
            b"content-length : 2",
            b"content-length: 99",
            b"transfer-encoding: chunked",
        ),
        *(b"connection: close", b"Connection: Keep-Alive", b"keep-alive: timeout=7", b"retry-after: 7", b"Retry-After:8 "),
        *(b"x: y", b"X-Y:", b"x: \xe9\t", b"x: \x00", b" folded", b"no field", b": y", b"x: a\rb", b""),
    ]
)
STATUS_LINES = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 503 ", b"HTTP/1.1 204", b"HTTP/1.0 200 OK", b"HTTP/1.1 100 Continue", b"HTTP/1.1 200 O\x00K"]
)


@given(
    status_line=STATUS_LINES,
    lines=st.lists(LINES, max_size=6),
    ends=st.sampled_from([b"\r\n", b"\r\n", b"\n"]),
    rest=st.sampled_from([b"", b"ok", b"okay", b"2\r\nok\r\n0\r\n\r\n", OK + EMPTY]),
)
def test_an_answer_in_one_piece_is_read_like_one_that_comes_byte_by_byte(
    status_line: bytes, lines: list[bytes], ends: bytes, rest: bytes
) -> None:
    says = ends.join([status_line, *lines, b"", b""]) + rest
    assert read([says]) == read([bytes([byte]) for byte in says])


@given(st.lists(st.binary(max_size=40) | st.sampled_from([OK, EMPTY, b"\r\n", b"transfer-encoding: chunked\r\n\r\n", b"5\r\n"])))
def test_any_bytes_are_an_answer_or_are_not_http(pieces: list[bytes]) -> None:
    reader = AnswerReader()
    try:
        for piece in pieces:
            reader.feed(piece)
        reader.end()
    except NotHttpError:
        assert reader.status is None
    assert len(reader.body) <= MOST_BODY
    assert not reader.reusable


@pytest.mark.parametrize(
    "odd", [b"bad header line\r\n", b"x: \x00\r\n", b"x: y\n", b" folded\r\n", b"x: y\r\n" * 300, b"z: " + b"y" * 90_000]
)
async def test_retry_after_is_read_from_every_readable_head(odd: bytes, tmp_path: Path) -> None:
    said = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n" + odd + b"\r\n\r\n"
    async with Scripted([said]) as server, opened(HttpConfig(url=server.url, timeout=BRIEF), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Defer)
    assert outcome.after == 7.0


def test_a_head_that_trickles_in_is_read_in_linear_time() -> None:
    reader = AnswerReader()
    reader.feed(OK)
    for _ in range(60_000):
        reader.feed(b"\t")
    reader.feed(b"\r\n" + EMPTY)
    assert reader.done


# A stale answer is never the next event's.

EXTRA = [
    b"HTTP/1.1 299 Stale\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 299 Stale\r\ncontent-length: 0\r\n\r\n" * 3,
    b"HTTP/1.1 299 Stale\r\n\r\n",
    b"HTTP/1.1 299 St",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"\r\n",
    b"\n",
    b"0\r\n\r\n",
    b"x",
]


class Moment(NamedTuple):
    extra: bytes
    """The bytes that come later; if empty, the connection is closed instead."""
    when: str
    turns: int
    """Turns of the loop from there to the next request."""


moments = st.builds(
    Moment,
    st.sampled_from([b"", *EXTRA]),
    st.sampled_from(["with the answer", "behind the answer", "later", "never", "by reset"]),
    st.integers(0, 4),
)


class Talkative(Server):
    """Answers request n with status 200 + n, and then says more than it was asked for."""

    def __init__(self, moments: Sequence[Moment], tls: object = None) -> None:
        super().__init__(self._converse, tls)  # type: ignore[arg-type]
        self._moments = moments
        self.heard: list[int] = []
        self.more: Callable[[], None] = lambda: None
        """Sends the late bytes at once, on the connection that was used last."""

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            number = int((await read_request(reader)).header("x-gateway-attempt") or 0)
            self.heard.append(number)
            moment = self._moments[number - 1]
            said = answer(200 + number)
            glued = moment.when == "with the answer"
            writer.write(said + moment.extra if glued else said)
            if moment.when == "behind the answer":
                self._say(writer, moment)
            self.more = lambda: self._say(writer, moment) if moment.when in ("later", "by reset") else None  # noqa: B023

    def _say(self, writer: asyncio.StreamWriter, moment: Moment) -> None:
        if moment.when == "by reset":
            reset_connection(writer)
        elif moment.extra:
            writer.write(moment.extra)
        else:
            send_end(writer)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moments=st.lists(moments, min_size=1, max_size=6))
async def test_bytes_on_a_kept_connection_answer_no_request(
    moments: list[Moment], tls: bool, certificates: Certificates, tmp_path: Path
) -> None:
    async with (
        Talkative(moments, certificates("good") if tls else None) as server,
        opened(HttpConfig(url=server.url, timeout=Duration("10s")), tmp_path) as sink,
    ):
        for number, moment in enumerate(moments, 1):
            assert await send(sink, outgoing(attempt=number)) == Delivered(200 + number)
            server.more()
            for _ in range(moment.turns + 3 * (moment.when == "by reset")):  # asyncio resets in its next turn
                await asyncio.sleep(0)
    assert server.heard == list(range(1, len(moments) + 1))


async def test_a_stale_answer_a_second_before_the_next_event_is_not_its_answer(tmp_path: Path) -> None:
    """The connection is closed as soon as the byte comes, and not only when the next event comes."""
    async with Talkative([Moment(EXTRA[0], "later", 0)] * 2) as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        assert await send(sink, outgoing(attempt=1)) == Delivered(201)
        server.gone.clear()
        server.more()
        await asyncio.wait_for(server.gone.wait(), PATIENCE)
        assert await send(sink, outgoing(attempt=2)) == Delivered(202)
    assert server.connections == 2
