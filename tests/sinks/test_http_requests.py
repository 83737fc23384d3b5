"""The requests of the HTTP client: the bytes that it writes, and the connections that it uses and closes."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcome import Delivered, Reason, Retry
from gateway.core.urls import UrlError, parse_url
from gateway.core.values import Duration
from gateway.host.blocking import start_in_thread
from gateway.sinks.base import Deadline
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.net import http_connection
from gateway.sinks.net.address_guard import AddressGuard
from gateway.sinks.net.http_client import Answer, Transport
from gateway.sinks.net.http_request import RequestHeads
from tests.sinks.addresses import dropping, info
from tests.sinks.conftest import Certificates
from tests.sinks.http_server import HttpServer, after_request, answer, read_request
from tests.sinks.sending import PATIENCE, opened, outgoing, send
from tests.sinks.tcp_server import Server

_TRIES = 30

TARGETS = [
    "/triggers?sp=%2Ftriggers&sig=a%2Bb",
    "/a%2fb/%7Euser/%41",
    "/a/../b/./c",
    "/a//b?",
    "/?q=a+b&empty=&&x==",
    "/hook?next=http://x/?y",
    "/(a)[b];c=d,e!$'*:@|^`",
    "/%zz%",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_path_and_query_are_sent_byte_for_byte(target: str, tmp_path: Path) -> None:
    async with HttpServer() as server:
        config = HttpConfig(url=f"http://127.0.0.1:{server.port}{target}")
        async with opened(config, tmp_path) as sink:
            assert await send(sink) == Delivered(200)
    assert server.heard[0].line == f"POST {target} HTTP/1.1".encode()


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40))
def test_every_url_that_the_parser_accepts_is_sent_as_it_was_written(rest: str) -> None:
    try:
        url = parse_url(f"https://erp.example/{rest}")
    except UrlError:
        return
    head = RequestHeads("POST", url, {}).head(0, {})
    assert head is not None
    assert head.startswith(f"POST /{rest} HTTP/1.1\r\nHost: erp.example\r\n".encode())


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://erp.example:80/", "erp.example"),
        ("https://erp.example:443/", "erp.example"),
        ("https://erp.example:80/", "erp.example:80"),
        ("https://[2001:DB8::1]:8443/", "[2001:db8::1]:8443"),
        ("https://bücher.example/", "xn--bcher-kva.example"),
    ],
)
def test_the_host_header_is_the_authority_that_was_dialled(url: str, host: str) -> None:
    head = RequestHeads("POST", parse_url(url), {}).head(0, {})
    assert head is not None
    assert f"\r\nHost: {host}\r\n".encode() in head


TEXTS = st.text(max_size=9) | st.sampled_from(["\r", "\n", "\r\n", "\0", "\r\nx: y", "a\rb\n"])


@pytest.mark.parametrize("shared", [False, True])
@given(headers=st.dictionaries(TEXTS, TEXTS, max_size=4))
def test_no_header_can_begin_another_one(shared: bool, headers: dict[str, str]) -> None:
    fields = {f"x{name}": value for name, value in headers.items()}
    heads = RequestHeads("POST", parse_url("http://erp.example/"), fields if shared else {})
    head = heads.head(0, {} if shared else fields)
    hostile = any(set(f"{name}{value}") & set("\r\n\0") for name, value in headers.items())
    assert (head is None) == hostile
    if head is not None:
        lines = head.split(b"\r\n")
        assert lines[-2:] == [b"", b""]
        assert sum(line.startswith(b"x") for line in lines) == len(headers)
        assert all(mark not in line for line in lines for mark in (b"\r", b"\n", b"\0"))


async def test_a_sink_may_name_itself(tmp_path: Path) -> None:
    async with HttpServer() as server, opened(HttpConfig(url=server.url, headers={"User-Agent": "acme"}), tmp_path) as sink:
        await send(sink)
    assert server.heard[0].header("user-agent") == "acme"


async def test_an_ipv6_address_is_dialled(tmp_path: Path) -> None:
    heard = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await read_request(reader)).header("host") == f"[::1]:{port}"
        heard.set()
        writer.write(answer(200, connection="close"))
        writer.close()

    try:
        server = await asyncio.start_server(talk, "::1", 0)
    except OSError:
        pytest.skip("no IPv6 on loopback here")
    port = server.sockets[0].getsockname()[1]
    async with server, opened(HttpConfig(url=f"http://[::1]:{port}/"), tmp_path) as sink:
        assert await send(sink) == Delivered(200)
    assert heard.is_set()


async def test_a_small_request_is_one_write(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packets.append(await reader.read(1 << 20))
        writer.write(answer(200))
        await reader.read()

    packets: list[bytes] = []
    async with Server(talk) as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        assert await send(sink) == Delivered(200)
    assert packets[0].endswith(outgoing().body)


async def test_an_answer_that_overtakes_a_large_request_decides_and_ends_the_connection(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(413))
        await writer.drain()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await done.wait()

    done = asyncio.Event()
    async with Server(talk) as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        outcome = await send(sink, outgoing(b"x" * 30_000_000))
        assert isinstance(outcome, Retry)
        assert outcome.status == 413
        done.set()
        await asyncio.wait_for(server.gone.wait(), PATIENCE)


@pytest.mark.parametrize("size", [200_000, 8_000_000])
@pytest.mark.parametrize("reset", [False, True])
async def test_an_answer_that_comes_before_the_server_hangs_up_on_a_large_request_decides(
    reset: bool, size: int, tmp_path: Path
) -> None:
    """The server answers from a thread of its own, at whatever moment of the write."""

    def serve() -> None:
        for _ in range(_TRIES):
            made, _ = listening.accept()
            with made:
                made.recv(1000)
                made.sendall(answer(200, connection="close"))
                if reset:
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        served = start_in_thread(serve, "hangs-up")
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        async with opened(HttpConfig(url=url), tmp_path) as sink:
            outcomes = [await send(sink, outgoing(b"x" * size)) for _ in range(_TRIES)]
        await served
    assert outcomes == [Delivered(200)] * _TRIES


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_an_interim_answer_does_not_end_the_sending_of_a_large_request(
    tls: bool, tmp_path: Path, certificates: Certificates
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        left = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
        while left:
            writer.write(b"HTTP/1.1 102 Processing\r\n\r\n" if left > 7_000_000 else b"")
            left -= len(await reader.read(min(left, 100_000)))
        writer.write(answer(200))

    async with Server(talk, certificates("good") if tls else None) as server:
        url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}/"
        async with opened(HttpConfig(url=url), tmp_path) as sink:
            assert await send(sink, outgoing(b"x" * 8_000_000)) == Delivered(200)


async def test_a_server_that_stops_reading_is_a_timeout(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(PATIENCE)

    async with Server(talk) as server, opened(HttpConfig(url=server.url, timeout=Duration("500ms")), tmp_path) as sink:
        outcome = await send(sink, outgoing(b"x" * 30_000_000))
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TIMEOUT


async def test_an_idle_connection_is_closed_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "IDLE_SECONDS", 0.05)
    async with HttpServer(answer(200, keep_alive="timeout=5")) as server, opened(HttpConfig(url=server.url), tmp_path) as sink:
        assert await send(sink) == Delivered(200)
        await asyncio.wait_for(server.gone.wait(), PATIENCE)
        assert await send(sink) == Delivered(200)
    assert server.connections == 2


@pytest.mark.speed
async def test_an_http_host_whose_first_address_drops_packets_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer(200, connection="close"))
        writer.close()

    with dropping("127.0.0.1") as port:
        server = await asyncio.start_server(talk, "127.0.0.2", port)
        found = [info("127.0.0.1", port), info("127.0.0.2", port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        async with server, opened(HttpConfig(url=f"http://erp.test:{port}/"), tmp_path) as sink:
            begun = asyncio.get_running_loop().time()
            assert await send(sink) == Delivered(200)
            assert asyncio.get_running_loop().time() - begun < 1.5


@pytest.mark.parametrize(
    ("method", "length", "said"), [("GET", 0, False), ("HEAD", 0, False), ("GET", 2, True), ("POST", 0, True)]
)
def test_a_request_without_content_says_its_length_only_if_its_method_expects_some(method: str, length: int, said: bool) -> None:
    head = RequestHeads(method, parse_url("https://api.example/"), {}).head(length, {})  # RFC 9110, section 8.6
    assert head is not None
    assert (b"Content-Length" in head) is said and head.endswith(b"\r\n\r\n")


class _Recorded(Deadline):
    """A deadline that remembers how long the rest of an answer may take."""

    asked: list[float]

    def spare(self, most: float) -> float:
        self.asked = [most]
        return super().spare(most)


async def test_a_caller_that_needs_the_body_says_how_long_it_waits_for_it() -> None:
    transport = Transport(AddressGuard(), 1, PATIENCE, read_seconds=0.05)
    deadline = _Recorded(PATIENCE)
    async with after_request(says=b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", hang=True) as server:
        answered = await transport.request("GET", f"http://127.0.0.1:{server.port}/", b"", {}, deadline)
    assert isinstance(answered, Answer) and (answered.status, answered.body) == (200, b"half")
    assert deadline.asked == [0.05]
    await transport.aclose()
