"""`gateway play --forward`: the local server gets the request as it came, and the sender gets that server's answer."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from standardwebhooks import Webhook

from tests.cli.playing import Piped, post
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import SECRET, event, signed


async def test_the_body_and_the_headers_arrive_as_they_came(tmp_path: Path) -> None:
    body = event(note="袋")
    headers = [
        *signed(body),
        ("content-type", "application/json; charset=utf-8"),
        ("x-odd", "a,b"),
        ("authorization", "Bearer x"),
    ]
    with Receiver() as receiver, Piped("--json", "--forward", receiver.url("/hook?a=b"), cwd=tmp_path) as play:
        assert (await post(f"{play.address}/elsewhere", body, headers, method="PUT"))[0] == 200
        (came,) = receiver.requests
        assert came.path == "/hook" and came.body == body
        assert {name: came.headers[name] for name, _ in headers} == {name: str(value) for name, value in headers}
        assert came.headers["host"] == f"127.0.0.1:{receiver.port}"
        renamed = {name.replace("svix", "webhook"): value for name, value in came.headers.items()}
        Webhook(SECRET).verify(came.body.decode(), renamed)
        line = json.loads(play.lines(1)[0])
        assert (line["status"], line["forwarded"]["status"]) == (200, 200)


async def test_the_sender_gets_the_answer_of_the_local_server(tmp_path: Path) -> None:
    with Receiver() as receiver, Piped("--json", "--forward", receiver.url(), cwd=tmp_path) as play:
        receiver.always = (429, {"Retry-After": "17", "x-mine": "yes", "content-type": "text/plain"})
        status, _, headers = await post(play.address, b"{}")
        assert (status, headers["Retry-After"], headers["x-mine"]) == (429, "17", "yes")
        receiver.always = (302, {"Location": "http://192.0.2.1/"})
        status, _, headers = await post(play.address, b"{}")
        assert (status, headers["Location"]) == (302, "http://192.0.2.1/")
        assert len(receiver.requests) == 2, "a redirect is passed on, and not followed"


async def test_a_chosen_status_wins_and_the_local_answer_is_told(tmp_path: Path) -> None:
    with Receiver() as receiver, Piped("--json", "--status", "503", "--forward", receiver.url(), cwd=tmp_path) as play:
        assert (await post(play.address, b"{}"))[0] == 503
        line = json.loads(play.lines(1)[0])
        assert (line["status"], line["forwarded"]["status"], len(receiver.requests)) == (503, 200, 1)


async def test_a_server_that_is_down_is_named_and_the_sender_gets_502(tmp_path: Path, free_port: Callable[[], int]) -> None:
    url = f"http://127.0.0.1:{free_port()}/hook"
    with Piped("--json", "--forward", url, cwd=tmp_path) as play:
        status, answer, _ = await post(play.address, b"{}")
        assert (status, json.loads(answer)) == (
            502,
            {"error": "forward_failed", "detail": f"{url}: nothing listens there (Connection refused)"},
        )
        assert json.loads(play.lines(1)[0])["forwarded"]["detail"] == "nothing listens there (Connection refused)"


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"], ids=["nothing", "no HTTP"])
async def test_a_server_that_speaks_no_http_is_named(tmp_path: Path, said: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with Piped("--json", "--forward", url, cwd=tmp_path) as play:
            assert (await post(play.address, b"{}"))[0] == 502
            detail = json.loads(play.lines(1)[0])["forwarded"]["detail"]
    assert detail in ("it closed the connection without an answer", "its answer is not HTTP") and "SSH" not in detail


async def test_a_slow_local_server_holds_up_nobody_else(tmp_path: Path) -> None:
    with Receiver() as receiver, Piped("--json", "--forward", receiver.url(), cwd=tmp_path) as play:
        receiver.hold()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=300)) as session:

            async def one(number: int) -> int:
                async with session.post(f"{play.address}/{number}", data=b"{}") as answer:
                    return answer.status

            waiting = [asyncio.ensure_future(one(number)) for number in range(100)]
            await until(lambda: len(receiver.requests) == 100, 30)
            assert not any(one.done() for one in waiting)
            receiver.release()
            assert await asyncio.gather(*waiting) == [200] * 100
        assert len(play.lines(100)) == 100


async def test_the_end_does_not_wait_for_a_local_server_that_hangs(tmp_path: Path) -> None:
    with Receiver() as receiver, Piped("--json", "--forward", receiver.url(), cwd=tmp_path) as play:
        receiver.hold()
        hanging = asyncio.ensure_future(post(play.address, b"{}"))
        await until(lambda: len(receiver.requests) == 1, 30)
        begun = time.monotonic()
        assert await asyncio.to_thread(play.end) == 0
        assert time.monotonic() - begun < 10
        with pytest.raises(aiohttp.ClientError):
            await hanging
        assert "Traceback" not in play.err.text


async def test_a_header_that_is_no_text_is_left_out_and_named(tmp_path: Path) -> None:
    with Receiver() as receiver, Piped("--json", "--forward", receiver.url(), cwd=tmp_path) as play:
        port = int(play.address.rpartition(":")[2])

        def send() -> bytes:
            with socket.create_connection(("127.0.0.1", port)) as raw:
                raw.sendall(b"POST / HTTP/1.1\r\nhost: x\r\nx-raw: \xff\xfe\r\nx-good: y\r\ncontent-length: 2\r\n\r\n{}")
                return raw.recv(1000)

        assert b" 200 " in await asyncio.to_thread(send)
        (came,) = receiver.requests
        assert came.headers["x-good"] == "y" and "x-raw" not in came.headers
        assert "x-raw" in json.loads(play.lines(1)[0])["forwarded"]["detail"]


async def test_a_long_answer_is_cut_and_said(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 900000\r\n\r\n" + b"y" * 900_000)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with Piped("--json", "--forward", url, cwd=tmp_path) as play:
            status, body, _ = await post(play.address, b"{}")
            assert (status, len(body)) == (200, 256 * 1024)
            assert "cut after 256 KiB" in json.loads(play.lines(1)[0])["forwarded"]["detail"]
