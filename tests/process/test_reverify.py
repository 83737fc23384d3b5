"""Webhooks refused for a wrong secret are kept, and accepted once the right one is configured."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import urllib.request
from pathlib import Path

import pytest

from tests.cli.running import gateway as gateway_command
from tests.support.configurations import http_sink, route
from tests.support.exchange import Headers
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event, new_id, signed

OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The secret of an example in the documentation of Svix; here it is the sender's."""
WRONG = "whsec_Zq3kV9x2Lr7TnB5mYc8WdJ4hPs6GfA1u"
FORGED = "whsec_Hn8sQ2vXk5ReLz7BtM3yGc9WpJ6dFa4T"


def configured(receiver: Receiver, more: str = "", other: str = "") -> str:
    source = f'[sources.legitmark]\nsecrets = [{{ file = "secret" }}]\n{more}\n'
    return source + other + http_sink(receiver) + route("erp")


def running_with(folder: Path, receiver: Receiver, more: str = "", other: str = "") -> Running:
    (folder / "secret").write_text(WRONG)
    (folder / "secret").chmod(0o600)
    return Running(folder, configured(receiver, more, other))


def kept_is(running: Running, number: int) -> bool:
    return number == sum(kept(running).values())


def kept(running: Running) -> dict[str, int]:
    """Return how many requests are kept, by source, as `/metrics` says."""
    host, port = running.addresses["admin"]  # type: ignore[misc]
    with urllib.request.urlopen(f"http://{host}:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    name = "legitmark_gateway_refused_kept{"
    return {line.split('"')[1]: int(float(line.split()[-1])) for line in lines if line.startswith(name)}


async def told(running: Running, *args: str) -> tuple[int, dict[str, int]]:
    """Return the exit code and the documents of `gateway reverify --json`."""
    host, port = running.addresses["admin"]  # type: ignore[misc]
    result = await asyncio.to_thread(
        gateway_command, "reverify", *args, "--json", "--admin", f"{host}:{port}", cwd=running.folder
    )
    return result.status, json.loads(result.out) if result.out else {}


async def wrong(running: Running, body: bytes, message_id: str | None = None, *, age: float = 0.0) -> Headers:
    headers = signed(body, message_id, secret=OTHER, age=age)
    assert (await running.post(body, headers)).outcome == (401, "bad_signature")
    return headers


async def test_requests_that_a_wrong_secret_refused_are_accepted_once_the_right_one_is_configured(
    tmp_path: Path, receiver: Receiver
) -> None:
    with running_with(tmp_path, receiver) as running:
        bodies = [event() for _ in range(20)]
        for at, body in enumerate(bodies):
            await wrong(running, body, f"msg_{at}")
            if at < 3:  # tried again, with a new signature
                await wrong(running, body, f"msg_{at}", age=-5)
        forged = event()
        await running.post(forged, signed(forged, secret=FORGED))
        await until(lambda: kept_is(running, 24))
        status, said = await told(running)
        assert status == 1 and (said["kept"], said["fit"], said["remaining"]) == (24, 0, 24)
        assert running.rows("SELECT count(*) FROM messages") == [(0,)] and receiver.requests == []
        await asyncio.to_thread(running.kill)
        (tmp_path / "secret").write_text(OTHER)
        await asyncio.to_thread(running.start)
        status, said = await told(running, "legitmark")
        assert status == 0
        counts = {key: said[key] for key in ("kept", "fit", "accepted", "duplicate", "quarantined", "remaining")}
        assert counts == {"kept": 24, "fit": 23, "accepted": 20, "duplicate": 3, "quarantined": 0, "remaining": 1}
        await until(lambda: len(receiver.requests) == 20)
        assert sorted(one.body for one in receiver.requests) == sorted(bodies)
        assert len(running.audit("message.accepted")) == 20 and len(running.audit("message.duplicate")) == 3
        assert len(running.audit("message.reverified")) == 23
        ids = {line["message_id"] for line in running.audit("message.accepted")}
        assert {line["message_id"] for line in running.audit("message.reverified")} == ids
        status, said = await told(running)
        assert status == 1 and (said["kept"], said["fit"], said["remaining"]) == (1, 0, 1)
        # And the sender's own next try is a duplicate.
        assert (await running.post(bodies[0], signed(bodies[0], "msg_0", secret=OTHER))).outcome == (200, "duplicate")
        assert await running.stop() == 0


async def test_a_reload_that_brings_the_secret_accepts_the_kept_requests_by_itself(tmp_path: Path, receiver: Receiver) -> None:
    with running_with(tmp_path, receiver) as running:
        bodies = [event() for _ in range(40)]
        for body in bodies:
            await wrong(running, body)
        await until(lambda: kept_is(running, 40))
        assert (await running.admin("/-/reload", method="POST")).status == 200  # no new secret: nothing to do
        (tmp_path / "secret").write_text(OTHER)
        assert (await running.admin("/-/reload", method="POST")).status == 200
        await until(lambda: len(receiver.requests) == 40)
        assert {line["actor"] for line in running.audit("message.reverified")} == {"reload"}
        await until(lambda: kept_is(running, 0))


async def test_a_source_that_is_added_again_with_another_secret_accepts_its_kept_requests(
    tmp_path: Path, receiver: Receiver
) -> None:
    other = '[sources.other]\npath = "/other"\nsecrets = [{ env = "LEGITMARK" }]\n'
    with running_with(tmp_path, receiver, other=other) as running:
        await wrong(running, event())
        await until(lambda: kept_is(running, 1))
        whole = running.config.read_text()
        without = whole.replace("[sources.legitmark]", '[sources.later]\npath = "/later"').replace('"legitmark"', '"later"')
        for text in (without, whole):
            running.config.write_text(text)
            (tmp_path / "secret").write_text(OTHER)
            assert (await running.admin("/-/reload", method="POST")).status == 200
        await until(lambda: len(receiver.requests) == 1)
        await until(lambda: kept_is(running, 0))


@pytest.mark.parametrize("what", ["folder", "pipe", "locked"])
async def test_an_unusable_file_of_refused_requests_changes_no_answer_and_ends_reverify_with_74(
    what: str, tmp_path: Path, receiver: Receiver
) -> None:
    file = tmp_path / "gateway.db.refused"
    with running_with(tmp_path, receiver) as running:
        match what:
            case "folder":
                file.mkdir()
            case "pipe":
                os.mkfifo(file)
            case _:
                await wrong(running, event())
                await until(lambda: kept_is(running, 1))
                held = sqlite3.connect(file)
                held.execute("BEGIN EXCLUSIVE")
        await wrong(running, event())
        assert (await running.post(body := event(), signed(body, secret=WRONG))).outcome == (200, "accepted")
        assert (await told(running)) == (74, {})
        assert "refused.lost" in running.stderr()
        assert await running.stop() == 0


async def test_only_requests_that_a_secret_could_verify_are_kept(tmp_path: Path, receiver: Receiver) -> None:
    secrets = 'secrets = [{ file = "secret" }]'
    other = f'[sources.off]\n{secrets}\nkeep_refused = "0B"\n[sources.small]\n{secrets}\nkeep_refused = "2kB"\n'
    with running_with(tmp_path, receiver, other=other) as running:
        body = event()
        good = signed(body, secret=OTHER)
        for headers in (
            good[:2],  # this request has no signature
            [("svix-id", "x" * 256), *good[1:]],
            [good[0], ("svix-timestamp", "soon"), good[2]],
            [*good[:2], ("svix-signature", "v1,AAAA")],
            signed(body, secret=OTHER, age=3600),  # stale: no secret would make it acceptable
        ):
            assert (await running.post(body, headers)).status == 401
        assert (await running.post(body, good, path="/webhooks/off")).status == 401
        for _ in range(10):
            assert (await running.post(one := event(), signed(one, secret=OTHER), path="/webhooks/small")).status == 401
        big = event(note="x" * 3000)
        assert (await running.post(big, signed(big, secret=OTHER), path="/webhooks/small")).status == 401
        await wrong(running, body)
        await until(lambda: kept(running).get("legitmark") == 1 and kept(running).get("small"))
        assert 1 <= kept(running)["small"] <= 5 and "off" not in kept(running)
        # A rotation to "0B" gives up what is there.
        running.config.write_text(running.config.read_text().replace("2kB", "0B"))
        assert (await running.admin("/-/reload", method="POST")).status == 200
        await until(lambda: kept(running)["small"] == 0)


async def test_no_refused_request_is_kept_without_room_on_the_disk(tmp_path: Path, receiver: Receiver) -> None:
    running = running_with(tmp_path, receiver)
    running.config.write_text(running.config.read_text() + '[store]\nmin_free = "900000GiB"\n')
    running.launch()
    try:
        await until(running.is_listening)
        await wrong(running, event())
        dropped = 'legitmark_gateway_refused_dropped_total{reason="disk",source="legitmark"} 1.0'
        assert dropped in (await running.admin("/metrics")).body.decode()
        assert not running.database.with_name("gateway.db.refused").exists()
    finally:
        running.kill()


async def test_a_damaged_file_of_refused_requests_is_set_aside(tmp_path: Path, receiver: Receiver) -> None:
    (tmp_path / "gateway.db.refused").write_bytes(b"rubbish" * 1000)
    with running_with(tmp_path, receiver) as running:
        await wrong(running, event())
        await until(lambda: kept_is(running, 1))
        assert "refused.set_aside" in running.stderr()
        assert (tmp_path / "gateway.db.refused.damaged").exists()
        assert await running.stop() == 0


async def test_reverify_ends_with_2_for_an_unknown_source_and_with_1_if_nothing_is_kept(
    tmp_path: Path, receiver: Receiver
) -> None:
    with running_with(tmp_path, receiver) as running:
        assert (await told(running, "legitmork"))[0] == 2
        assert (await told(running, "legitmark"))[0] == 1
        host, port = running.addresses["admin"]  # type: ignore[misc]
    gone = await asyncio.to_thread(gateway_command, "reverify", "--admin", f"{host}:{port}", cwd=tmp_path)
    assert gone.status == 69


async def test_forged_requests_fill_their_bounded_file_and_delay_no_webhook(tmp_path: Path, receiver: Receiver) -> None:
    """While forged requests keep coming, good webhooks are acknowledged as before, and the file stays within its bounds."""
    with running_with(tmp_path, receiver, 'keep_refused = "2MiB"') as running:
        (tmp_path / "secret").write_text(OTHER)
        await running.admin("/-/reload", method="POST")

        async def good() -> float:
            body = event()
            answer = await running.post(body, signed(body, secret=OTHER))
            assert answer.outcome == (200, "accepted")
            return answer.seconds

        quiet = sorted([await good() for _ in range(40)])
        ended = asyncio.Event()

        async def flood() -> int:
            sent = 0
            while not ended.is_set():
                body = b"x" * 200_000
                assert (await running.post(body, signed(body, secret=FORGED))).status == 401
                sent += 1
            return sent

        flooding = asyncio.create_task(flood())
        loud = sorted([await good() for _ in range(40)])
        ended.set()
        assert await flooding > 20
        assert loud[20] < 20 * quiet[20] + 0.25
        await until(lambda: kept(running)["legitmark"] > 0)
        # The file, its overhead, and a journal of what one transaction changes in it: twice what is kept, and a quarter.
        assert sum(file.stat().st_size for file in tmp_path.glob("gateway.db.refused*")) < 5 * 1024 * 1024


async def test_a_refused_request_is_never_shown_as_an_event(tmp_path: Path, receiver: Receiver) -> None:
    with running_with(tmp_path, receiver) as running:
        await wrong(running, event("sr-never-shown"), new_id())
        await until(lambda: kept_is(running, 1))
        for path in ("/api/messages", "/api/deliveries", "/api/status", "/api/messages/sr-never-shown"):
            assert b"sr-never-shown" not in (await running.admin(path)).body
        assert b"sr-never-shown" not in running.audit_file.read_bytes() + running.stderr_file.read_bytes()


async def test_a_source_that_refuses_everything_needs_a_person_and_makes_a_notice(tmp_path: Path, receiver: Receiver) -> None:
    running = running_with(tmp_path, receiver)
    running.config.write_text(running.config.read_text() + http_sink(receiver, "chat") + route("chat", source="gateway"))
    with running:
        for _ in range(20):
            await wrong(running, event())
        await until(lambda: receiver.requests)
        told = json.loads(receiver.requests[0].body)
        facts = {key: told[key] for key in ("event_type", "source", "reason")}
        assert facts == {"event_type": "gateway.source_refused", "source": "legitmark", "reason": "bad_signature"}
        assert told["count"] >= 10 and told["since"].endswith("Z") and "secret" in told["detail"]
        host, port = running.addresses["admin"]  # type: ignore[misc]
        await until(lambda: kept_is(running, 20))
        result = await asyncio.to_thread(gateway_command, "status", "--admin", f"{host}:{port}", cwd=tmp_path)
        assert result.status == 1 and "legitmark: every webhook is refused, 20 in a row since" in " ".join(result.out.split())
        assert "gateway reverify legitmark" in " ".join(result.out.split())
        assert running.stderr().count('"source.refusing"') == 1
        assert (await running.admin("/-/ready")).status == 200
        lines = running.audit("message.rejected")
        assert lines[0]["sender_ids"][0].startswith("msg_") and lines[0]["addresses"] == ["127.0.0.1"]
        (tmp_path / "secret").write_text(OTHER)
        assert (await running.admin("/-/reload", method="POST")).status == 200
        await until(lambda: "source.accepting" in running.stderr())
        result = await asyncio.to_thread(gateway_command, "status", "--admin", f"{host}:{port}", cwd=tmp_path)
        assert result.status == 0, result.out
