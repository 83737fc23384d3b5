"""The page of `gateway play`: below a path of its own, for this host alone, with the choices of the terminal."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from tests.cli.playing import Piped, post
from tests.cli.serving import wait_until
from tests.support.receivers import Receiver
from tests.support.webhooks import SECRET, event, signed

CANARY = "Kanarienvogel-0815"
FORM = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def play(tmp_path: Path, receiver: Receiver) -> Iterator[Piped]:
    with Piped("--json", "--forward", receiver.url(), cwd=tmp_path) as running:
        yield running


async def page(play: Piped, path: str = "", **headers: str) -> tuple[int, str]:
    given = [(name.replace("_", "-"), value) for name, value in headers.items()]
    status, body, _ = await post(f"{play.address}/_play{path}", b"", given, "GET")
    return status, body.decode()


async def test_the_page_shows_what_came_in_both_languages_and_as_json(play: Piped) -> None:
    body = event(reference_id="BAG-7", note="<script>alert(1)</script>\u202e")
    await post(f"{play.address}/hook", body, [*signed(body), ("authorization", f"Bearer {CANARY}")])
    for language in ("en", "ja"):
        for path in ("", "/1"):
            status, html = await page(play, f"{path}?lang={language}")
            assert status == 200 and f'<html lang="{language}">' in html and "BAG-7" in html
            assert "<script>alert" not in html and "\u202e" not in html and CANARY not in html
    listed = json.loads((await page(play, ".json"))[1])
    assert (listed["requests"][0]["reference_id"], listed["requests"][0]["signed"]) == ("BAG-7", None)
    one = json.loads((await page(play, "/1.json"))[1])
    assert ["authorization", "Bearer ***"] in one["headers"] and CANARY not in json.dumps(one)
    assert (await page(play, "/2.json"))[0] == (await page(play, "/2"))[0] == (await page(play, "/x"))[0] == 404


async def test_the_files_of_the_page_are_below_its_path(play: Piped) -> None:
    html = unescape((await page(play))[1])
    files = [part.split('"')[0] for part in html.split('"/')[1:] if "assets" in part.split('"')[0]]
    assert len(files) == 3 and all(file.startswith("_play/assets/") for file in files)
    for file in files:
        assert (await post(f"{play.address}/{file}", b"", method="GET"))[0] == 200
    assert (await post(f"{play.address}/assets/x", b"{}"))[0] == 200, "this is a webhook"


async def test_looking_at_the_page_is_no_request(play: Piped) -> None:
    await page(play)
    await page(play, ".json")
    await post(f"{play.address}/_playing", b"{}")
    listed = json.loads((await page(play, ".json"))[1])
    assert [one["path"] for one in listed["requests"]] == ["/_playing"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"X_Forwarded_For": "203.0.113.5"},
        {"Forwarded": "for=203.0.113.5"},
        {"Via": "1.1 tunnel"},
        {"CF_Connecting_IP": "203.0.113.5"},
        {"Origin": "http://evil.example"},
    ],
    ids=str,
)
async def test_the_page_is_for_this_host_alone_and_a_tunnel_still_reaches_the_receiver(
    play: Piped, headers: dict[str, str]
) -> None:
    status, body = await page(play, **headers)
    assert status == 403 and "gateway play" not in body
    given = [(name.replace("_", "-"), value) for name, value in headers.items()]
    assert (await post(f"{play.address}/hook", b"{}", given))[0] == 200


async def test_a_chosen_status_counts_from_the_next_request_on(play: Piped, receiver: Receiver) -> None:
    status, _, headers = await post(f"{play.address}/_play/answer", b"status=503&retry_after=9", FORM)
    assert (status, headers["Location"]) == (303, "/_play")
    status, _, headers = await post(play.address, b"{}")
    assert (status, headers["Retry-After"]) == (503, "9")
    assert len(receiver.requests) == 1, "it goes on nevertheless"
    await post(f"{play.address}/_play/answer", b"status=&retry_after=", FORM)
    assert (await post(play.address, b"{}"))[0] == 200
    for wrong in (b"status=99", b"status=600", b"status=abc", b"retry_after=86401", b"status=-1"):
        _, _, headers = await post(f"{play.address}/_play/answer", wrong, FORM)
        assert headers["Location"] == "/_play?wrong=answer"
    assert (await post(play.address, b"{}"))[0] == 200


async def test_a_request_goes_on_to_the_local_server_again(play: Piped, receiver: Receiver) -> None:
    body = event()
    await post(play.address, body, [*signed(body), ("authorization", f"Bearer {CANARY}")])
    status, _, headers = await post(f"{play.address}/_play/1/replay", b"lang=ja", FORM)
    assert (status, headers["Location"]) == (303, "/_play/1?lang=ja")
    await asyncio.to_thread(wait_until, lambda: len(receiver.requests) == 2, "it did not go on")
    assert receiver.requests[1].body == body
    assert receiver.requests[1].headers["authorization"] == f"Bearer {CANARY}"
    assert (await post(f"{play.address}/_play/x/replay", b"", FORM))[0] == 404


async def test_a_pasted_secret_is_tried_and_shown_nowhere(play: Piped) -> None:
    body = event()
    await post(play.address, body, signed(body))
    form = b"secret=" + SECRET.replace("+", "%2B").encode()
    assert (await post(f"{play.address}/_play/secret", form, FORM))[0] == 303
    listed = (await page(play, ".json"))[1]
    assert json.loads(listed)["requests"][0]["detail"] == "signed by the pasted secret"
    await post(play.address, body, signed(body))
    lines = await asyncio.to_thread(play.lines, 2)
    assert json.loads(lines[1])["signed"] is True, "the terminal knows it, too"
    bare = SECRET.removeprefix("whsec_")
    assert bare not in listed + (await page(play))[1] + play.out.text + play.err.text


@pytest.mark.parametrize("path", ["/secret", "/answer", "/1/replay"])
@pytest.mark.parametrize(
    "headers",
    [
        [("content-type", "application/x-www-form-urlencoded")],
        [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "cross-site")],
        [("content-type", "application/x-www-form-urlencoded"), ("origin", "http://127.0.0.1:1")],
        [("content-type", "text/plain"), ("sec-fetch-site", "same-site")],
    ],
    ids=range(4),
)
async def test_no_other_page_of_the_browser_can_act(
    play: Piped, receiver: Receiver, path: str, headers: list[tuple[str, str]]
) -> None:
    await post(play.address, b"{}")
    assert (await post(f"{play.address}/_play{path}", b"status=503", headers))[0] == 403
    assert (await post(play.address, b"{}"))[0] == 200 and len(receiver.requests) == 2


async def test_the_page_hears_of_each_request_and_the_end(play: Piped) -> None:
    port = int(play.address.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /_play/live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    async with asyncio.timeout(60):
        await reader.readuntil(b"event: live")
        await post(play.address, b"{}")
        await reader.readuntil(b"event: changed")
        assert await asyncio.to_thread(play.end) == 0
        assert b"event: ending" in await reader.read()
    writer.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this host")
@pytest.mark.parametrize(
    "body",
    [event(note="袋 'quoted' $(id) `id` \\ \" !"), b"", b"@/etc/passwd", b"\x00\xff binary", b"two\nlines\n", b"{}"],
    ids=range(6),
)
async def test_the_command_that_sends_a_request_again_sends_the_same(play: Piped, receiver: Receiver, body: bytes) -> None:
    path = "/hook/a%20b?x=1&y='$(id)'"
    headers = [
        *signed(body),
        ("content-type", "application/json"),
        ("x-odd", "a 'b' $(id)"),
        ("authorization", f"Bearer {CANARY}"),
    ]
    await post(f"{play.address}{path}", body, headers)
    command = json.loads((await page(play, "/1.json"))[1])["curl"]
    assert CANARY not in command
    shell = await asyncio.create_subprocess_exec("sh", "-c", command, stdout=asyncio.subprocess.DEVNULL)
    assert await shell.wait() == 0
    first, again = receiver.requests
    assert again.body == first.body == body
    kept = {name for name, _ in headers} - {"authorization"}
    assert {name: again.headers[name] for name in kept} == {name: first.headers[name] for name in kept}
    listed = json.loads((await page(play, ".json"))[1])["requests"]
    assert listed[0]["path"] == listed[1]["path"] and listed[0]["method"] == listed[1]["method"]


async def test_a_tunnel_cannot_reach_the_page_by_an_old_request_form(play: Piped) -> None:
    port = int(play.address.rpartition(":")[2])

    def send() -> bytes:
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"GET /_play HTTP/1.0\r\n\r\n")
            return raw.recv(100)

    assert b" 403 " in await asyncio.to_thread(send)
