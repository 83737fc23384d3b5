"""`gateway play` without a terminal: every request gets an answer and a line, and no line shows a secret."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cli.playing import Piped, post
from tests.cli.running import command, environment, gateway
from tests.cli.serving import wait_until
from tests.support.webhooks import SECRET, event, hmac_signature, new_id, signed

CANARY = "Kanarienvogel-0815"
ENV = ["--secret", "env:LEGITMARK_SECRET"]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Piped]:
    with Piped(*ENV, "--json", cwd=tmp_path) as running:
        yield running


def told(play: Piped, number: int) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(play.lines(number)[number - 1])
    return line


def kinds(line: dict[str, Any]) -> list[str]:
    return [one["kind"] for one in line["findings"]]


async def test_a_signed_request_is_answered_and_told_with_its_event(play: Piped) -> None:
    body = event(reference_id="BAG-7", state={"primary": "COMPLETE", "supplement": "REJECTED"})
    status, answer, _ = await post(f"{play.address}/webhooks/any?x=1", body, signed(body))
    assert (status, json.loads(answer)) == (200, {"status": "received", "number": 1})
    line = told(play, 1)
    assert (line["method"], line["path"], line["status"]) == ("POST", "/webhooks/any?x=1", 200)
    assert (line["signed"], line["detail"]) == (True, "signed by env LEGITMARK_SECRET")
    assert line["findings"] == [{"kind": "signed", "subject": "env LEGITMARK_SECRET"}]
    assert (line["milestone"], line["event_type"], line["reference_id"]) == ("counterfeit", "state_change", "BAG-7")
    assert line["body"] == body.decode()
    assert play.end() == 0
    assert "Traceback" not in play.err.text


async def test_an_event_has_its_facts_by_the_requests_that_came_before(tmp_path: Path) -> None:
    sr, states = new_id(), (("QC", "PENDING", 10), ("COMPLETE", "APPROVED", 50), ("QC", "APPROVED", 30))
    with Piped(*ENV, "--json", cwd=tmp_path) as told_as_json, Piped(*ENV, cwd=tmp_path) as told_in_words:
        for primary, supplement, minute in states:
            state = {"primary": primary, "supplement": supplement}
            body = event(sr, state=state, timestamp=f"2026-03-05T10:{minute}:00Z")
            for play in (told_as_json, told_in_words):
                assert (await post(play.address, body, signed(body, new_id())))[0] == 200
        assert "facts" not in told(told_as_json, 1), "nothing came before"
        second, late = (told(told_as_json, number)["facts"] for number in (2, 3))
        assert second["skipped"] == ["QC/APPROVED"] and second["state"] == {"before": "QC/PENDING"}
        assert (late["stale"], late["state"]["before"]) == (True, "COMPLETE/APPROVED")
        lines = told_in_words.lines(3)
        assert "! skipped QC/APPROVED" in lines[1] and "LATE" in lines[2] and "LATE" not in lines[1]
        async with aiohttp.ClientSession() as session, session.get(f"{told_in_words.address}/_play/3?lang=ja") as answer:
            page = await answer.text()
        assert "ここに届いたリクエストによる判定：" in page and "遅延" in page


async def test_every_refusal_of_a_gateway_has_its_reason(play: Piped) -> None:
    body = event()
    requests = [
        (signed(body, age=420), ["signed", "stale"]),
        (signed(body)[:2], ["missing"]),
        ([], ["no_signature"]),
        (signed(body + b" "), ["no_fit"]),
        ([*signed(body)[:2], ("svix-signature", "garbage")], ["no_entry"]),
    ]
    for number, (headers, reasons) in enumerate(requests, 1):
        assert (await post(play.address, body, headers))[0] == 200
        line = told(play, number)
        assert (line["signed"], kinds(line)) == (False, reasons)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "REPORT"])
async def test_every_method_is_answered(play: Piped, method: str) -> None:
    status, answer, headers = await post(f"{play.address}/x", b"" if method in ("GET", "HEAD") else b"{}", method=method)
    assert status == (204 if method == "OPTIONS" else 200)
    assert (headers.get("Allow") is not None) == (method == "OPTIONS")
    assert (answer == b"") == (method in ("HEAD", "OPTIONS"))
    assert told(play, 1)["method"] == method


async def test_a_browser_at_the_beginning_is_led_to_the_page(play: Piped) -> None:
    status, _, headers = await post(play.address, b"", [("accept", "text/html,*/*")], method="GET")
    assert (status, headers["Location"]) == (303, "/_play")
    await post(f"{play.address}/x", b"{}")
    assert told(play, 1)["path"] == "/x", "looking is no request"


async def test_the_chosen_answer_is_given_with_its_pause(tmp_path: Path) -> None:
    with Piped("--status", "503", "--retry-after", "7", "--json", cwd=tmp_path) as play:
        status, answer, headers = await post(play.address, b"{}")
        assert (status, headers["Retry-After"], json.loads(answer)["error"]) == (503, "7", "chosen")
        assert told(play, 1)["status"] == 503
        assert "answered with 503" in play.err.text


async def test_no_secret_of_a_request_is_in_any_byte_of_the_output(tmp_path: Path) -> None:
    headers: list[tuple[str, str | bytes]] = [
        ("authorization", f"Bearer {CANARY}"),
        ("cookie", f"session={CANARY}"),
        ("x-api-key", CANARY),
        ("x-note", f"it is {SECRET}"),
    ]
    bare = SECRET.removeprefix("whsec_")
    body = json.dumps({"event_type": "state_change", "key": SECRET, "part": bare}).encode()
    for more in ([], ["--json"]):
        with Piped(*ENV, *more, cwd=tmp_path) as play:
            await post(f"{play.address}/x?token={CANARY}&api_key={CANARY}", body, headers)
            play.lines(1)
            assert play.end() == 0
            everything = play.out.data + play.err.data
        assert CANARY.encode() not in everything and bare.encode() not in everything
        assert b"***" in everything


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\xff\xfe" * 1000,
        b"[" * 200_000,
        b'{"a":' * 50_000,
        b'{"event_type":"' + b"x" * 200_000 + b'"}',
        '{"event_type":"a\u202eb\u001b[2J\\u001b[31m","sr_uuid":"\x1b]0;title\x07"}'.encode(),
        b'{"event_type":"state_change"\x1b[2Jnot json',
        b"\xef\xbb\xbf{}",
        b'{"n":' + b"9" * 100_000 + b"}",
    ],
    ids=range(9),
)
async def test_a_hostile_body_draws_nothing_and_is_told_in_one_line(tmp_path: Path, body: bytes) -> None:
    with Piped(*ENV, cwd=tmp_path) as people, Piped(*ENV, "--json", cwd=tmp_path) as programs:
        for play in (people, programs):
            headers = [("svix-id", "m"), ("svix-timestamp", "1772000000"), ("svix-signature", "v1,x"), ("x-odd", "a\u202eb")]
            assert (await post(play.address, body, headers))[0] == 200
            assert (await post(f"{play.address}/after", b"{}"))[0] == 200
            lines = play.lines(2)
            assert len(lines) == 2 and "/after" in lines[1]
            assert not any(ord(character) < 32 for line in lines for character in line)
        assert "\u202e" not in people.out.text
        assert json.loads(programs.lines(2)[0])["length"] == len(body)


async def test_a_body_that_is_too_long_is_refused_and_told(play: Piped) -> None:
    status, answer, _ = await post(play.address, b"x" * (256 * 1024 + 1))
    assert (status, json.loads(answer)["error"]) == (413, "body_too_large")
    line = told(play, 1)
    assert (line["status"], line["unreadable"]) == (413, "the body was not kept")
    status, _, _ = await post(play.address, b"x" * (256 * 1024))
    assert status == 200


async def test_a_body_in_chunks_is_taken(play: Piped) -> None:
    body = event()

    async def pieces() -> object:  # an async generator makes aiohttp send chunks
        for at in range(0, len(body), 7):
            yield body[at : at + 7]

    headers = {name: str(value) for name, value in signed(body)}
    async with aiohttp.ClientSession() as session, session.post(play.address, data=pieces(), headers=headers) as answer:
        assert answer.status == 200
    assert told(play, 1)["signed"] is True


async def test_300_connections_at_once_are_all_answered(play: Piped) -> None:
    body = event()
    connector = aiohttp.TCPConnector(limit=300)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one() -> int:
            headers = {name: str(value) for name, value in signed(body, new_id())}
            async with session.post(play.address, data=body, headers=headers) as answer:
                await answer.read()
                return answer.status

        assert await asyncio.gather(*(one() for _ in range(300))) == [200] * 300
    lines = [json.loads(line) for line in play.lines(300)]
    assert sorted(line["number"] for line in lines) == list(range(1, 301))
    assert all(line["signed"] for line in lines)


def test_what_is_not_http_is_answered_400(play: Piped) -> None:
    port = int(play.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert b" 400 Bad Request" in raw.recv(100)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_with_success(play: Piped, number: int) -> None:
    assert play.end(number) == 0
    assert "Traceback" not in play.err.text


def test_it_ends_when_its_reader_has_gone(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("play", "--port", "0", "--json"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stderr.readline()
    process.stdout.close()
    try:
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stderr.close()


def test_a_port_that_is_taken_is_named_with_what_to_do(play: Piped, tmp_path: Path) -> None:
    port = play.address.rpartition(":")[2]
    result = gateway("play", "--port", port, cwd=tmp_path)
    assert result.status == 74
    assert result.err == (
        f"gateway: error: can't listen on 127.0.0.1:{port}: Address already in use; choose another port with --port\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "70000"], "--port 70000"),
        (["--status", "99"], "--status 99"),
        (["--status", "600"], "--status 600"),
        (["--retry-after", "-1"], "--retry-after -1"),
        (["--forward", "localhost:3000"], "--forward"),
        (["--secret", f"whsec_{CANARY}"], "--secret is env:NAME"),
        (["--secret", "env:NOT_SET"], "NOT_SET is not set"),
        (["--secret", "env:ODD"], 'starts with "whsec_"'),
    ],
)
def test_a_wrong_option_is_named_and_no_secret_is(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = gateway("play", *arguments, cwd=tmp_path, variables={"ODD": "not-a-signing-secret"})
    assert (result.status, result.out) == (2, "")
    assert said in result.err
    assert CANARY not in result.err and "not-a-signing-secret" not in result.err


async def test_the_command_that_it_names_shows_a_request_at_once(tmp_path: Path) -> None:
    with Piped(*ENV, "--json", cwd=tmp_path) as play:
        named = next(line for line in play.err.text.splitlines() if line.startswith("Try it")).partition(": ")[2]
        sent = gateway(*named.split()[1:], cwd=tmp_path)
        assert (sent.status, sent.err) == (0, "")
        assert (told(play, 1)["signed"], told(play, 1)["milestone"]) == (True, "counterfeit")
    with Piped("--json", cwd=tmp_path) as play:
        named = next(line for line in play.err.text.splitlines() if line.startswith("Try it")).partition(": ")[2]
        sent = gateway(*named.split()[1:], cwd=tmp_path)
        assert (sent.status, sent.err) == (0, "")
        assert told(play, 1)["milestone"] == "counterfeit"


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this host")
def test_nothing_it_does_needs_or_makes_a_file(tmp_path: Path) -> None:
    with Piped("--json", cwd=tmp_path) as play:
        subprocess.run(["curl", "-s", "-d", "{}", f"{play.address}/x"], check=True, capture_output=True)
        told(play, 1)
        assert play.end() == 0
    assert list(tmp_path.iterdir()) == []


async def test_memory_stays_bounded_whatever_comes(play: Piped) -> None:
    def kilobytes() -> int:
        status = Path(f"/proc/{play.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))

    body = b"x" * 200_000
    async with aiohttp.ClientSession() as session:
        for number in range(120):
            async with session.post(play.address, data=body) as answer:
                await answer.read()
            if number == 30:
                before = kilobytes()
    assert kilobytes() - before < 9 * 1024, "90 more bodies would take 18 MB"


@pytest.mark.speed
def test_its_help_takes_less_than_a_third_of_a_second() -> None:
    def seconds() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        before = used.ru_utime + used.ru_stime
        subprocess.run(command("play", "--help"), env=environment(), capture_output=True, check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime - before

    assert min(seconds() for _ in range(5)) < 0.3


async def test_a_signature_of_a_body_without_its_last_line_break_says_so(play: Piped) -> None:
    body = event()
    headers = [
        ("svix-id", "m"),
        ("svix-timestamp", timestamp := str(signed(body)[1][1])),
        ("svix-signature", hmac_signature("m", timestamp, body)),
    ]
    await post(play.address, body + b"\n", headers)
    assert "without the line break at its end" in str(told(play, 1)["detail"])


def test_a_slow_reader_of_the_lines_loses_lines_and_no_request(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("play", "--port", "0", "--json"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        address = process.stderr.readline().decode().split()[2].rstrip(",")
        body = b"x" * 50_000

        async def flood() -> list[int]:
            async with aiohttp.ClientSession() as session:
                answers = []
                for _ in range(100):
                    async with session.post(address, data=body) as answer:
                        answers.append(answer.status)
                return answers

        assert asyncio.run(flood()) == [200] * 100
        process.terminate()
        wait_until(lambda: process.poll() is not None, "it waits for its reader")
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
