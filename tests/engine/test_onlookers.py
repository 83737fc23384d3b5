"""Onlookers: requests are kept while somebody looks, whichever way they came; nothing is kept or counted otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.core.caught_requests import MOST_BYTES, MOST_REQUESTS, CaughtRequest, RequestRing
from gateway.core.masking import HIDDEN
from gateway.core.secrets import Secret
from gateway.core.signature_findings import Suspect
from gateway.web.play.onlookers import LOOK_SECONDS, MOST_A_SECOND, STREAM_SECONDS, Onlookers
from gateway.web.play.shown_requests import ShownRequests, SourceSecrets
from gateway.web.responses import PlainAnswer
from gateway.web.webhooks.head import Head
from tests.fakes import FakeClock
from tests.support.exchange import exchange, request_bytes
from tests.support.waiting import until
from tests.support.webhook_listener import MAX_BODY, OPEN, Store, WebhookListener, audit_log, webhook_listener
from tests.support.webhooks import PATH, SECRET, event, signed

GOOD, BAD = PlainAnswer(200, b'{"status":"accepted","id":"x"}', 0.0), PlainAnswer(401, b'{"error":"bad_signature"}', 0.0)
HEAD = Head("POST", "/hook", [(b"svix-id", b"msg_1"), (b"Cookie", b"a=b")], {}, "127.0.0.1")


class Bench(NamedTuple):
    live: WebhookListener
    clock: FakeClock

    @property
    def caught(self) -> list[CaughtRequest]:
        return self.live.onlookers.ring.newest_first(1000)


@pytest.fixture(params=[True, False], ids=["short way", "aiohttp"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async with (
        audit_log(tmp_path / "audit.jsonl") as audit,
        webhook_listener(Store(audit), audit, short=request.param) as live,
    ):
        yield Bench(live, FakeClock())


async def post(bench: Bench, body: bytes, headers: object = None, path: str = PATH, method: str = "POST") -> int:
    given = signed(body) if headers is None else headers
    raw = request_bytes(body, given, path=path, method=method)  # type: ignore[arg-type]
    return (await exchange(bench.live.address, raw)).status


async def test_nothing_is_kept_while_nobody_looks(bench: Bench) -> None:
    assert await post(bench, event()) == 200
    assert await post(bench, event(), []) == 401
    assert bench.caught == [] and bench.live.onlookers.version == 0


async def test_accepted_and_refused_requests_are_kept_with_their_answers(bench: Bench) -> None:
    bench.live.onlookers.look()
    body = event()
    assert await post(bench, body) == 200
    assert await post(bench, body, []) == 401
    assert await post(bench, body, path="/nowhere") == 404
    assert await post(bench, b"", path=PATH, method="GET") == 405
    assert await post(bench, b"x" * (MAX_BODY + 1)) == 413
    assert await post(bench, b"not json", [], path=OPEN) == 400
    kept = list(reversed(bench.caught))
    assert [one.answered and one.answered.status for one in kept] == [200, 401, 404, 405, 413, 400]
    assert [one.source for one in kept] == ["legitmark", "legitmark", None, None, "legitmark", "open"]
    assert [one.body for one in kept] == [body, body, None, None, None, b"not json"]
    assert kept[0].answered is not None and b'"accepted"' in kept[0].answered.body
    assert [one.number for one in kept] == [1, 2, 3, 4, 5, 6]


async def test_credentials_are_not_even_kept(bench: Bench) -> None:
    bench.live.onlookers.look()
    body = event()
    await post(bench, body, [*signed(body), ("Authorization", "Bearer canary"), ("Cookie", "canary"), ("X-Api-Key", "canary")])
    (kept,) = bench.caught
    assert b"canary" not in b"".join(value for _, value in kept.headers)
    assert [value for _, value in kept.headers].count(HIDDEN.encode()) == 3
    assert ("svix-id" in str(kept.headers)) and kept.body == body


async def test_a_bug_in_showing_changes_no_answer(bench: Bench) -> None:
    bench.live.onlookers.look()

    class Broken(RequestRing):
        def put(self, request: CaughtRequest) -> None:
            raise RuntimeError("a bug")

    bench.live.onlookers.ring = Broken()
    assert await post(bench, event()) == 200
    assert await post(bench, event(), []) == 401


def onlookers_for(clock: FakeClock, gone: list[float] | None = None) -> Onlookers:
    told = [] if gone is None else gone
    return Onlookers(RequestRing(), gone=lambda: told.append(clock.now()), clock=clock)


def test_more_than_a_person_can_read_is_only_counted_and_refusals_have_a_share_of_their_own() -> None:
    clock = FakeClock()
    onlookers = onlookers_for(clock)
    onlookers.look()
    for _ in range(2000):
        onlookers.saw(HEAD, "legitmark", b"{}", GOOD)
    kept = onlookers.ring.newest_first(1000)
    assert len(kept) == MOST_A_SECOND and onlookers.passed_by == 2000 - MOST_A_SECOND
    onlookers.saw(HEAD, "legitmark", b"{}", BAD)
    newest = onlookers.ring.newest_first(1)[0]
    assert newest.answered is not None and newest.answered.status == 401
    assert (newest.passed_by, onlookers.passed_by) == (2000 - MOST_A_SECOND, 0)
    clock.advance(1.0)
    onlookers.saw(HEAD, "legitmark", b"{}", GOOD)
    assert len(onlookers.ring) == MOST_A_SECOND + 2
    assert onlookers.version == 2002, "every request is a change"


def test_the_ring_stays_bounded_under_the_heaviest_load() -> None:
    clock = FakeClock()
    onlookers = onlookers_for(clock)
    onlookers.look(1000.0)
    for _ in range(500):
        for answer in (GOOD, BAD):
            onlookers.saw(HEAD, "legitmark", b"x" * 60_000, answer)
        clock.advance(0.02)
    assert len(onlookers.ring) <= MOST_REQUESTS and onlookers.ring.bytes <= MOST_BYTES


async def test_everything_is_forgotten_when_the_last_onlooker_has_gone() -> None:
    clock, gone = FakeClock(), list[float]()
    onlookers = onlookers_for(clock, gone)
    running = asyncio.ensure_future(onlookers.run())
    try:
        for _ in range(2):  # it begins anew whenever somebody looks again
            onlookers.look()
            onlookers.saw(HEAD, "legitmark", b"{}", GOOD)
            onlookers.saw(HEAD, "legitmark", b"{}", GOOD)
            await until(lambda: clock.sleeping != [])
            clock.advance(LOOK_SECONDS - 1)
            assert onlookers.changes() == onlookers.version and len(onlookers.ring) == 2
            clock.advance(2)
            await asyncio.sleep(0)
            assert onlookers.open and len(onlookers.ring) == 2, "a live page looks on"
            for _ in range(3):
                clock.advance(STREAM_SECONDS)
                for _ in range(10):
                    await asyncio.sleep(0)
            assert not onlookers.open and len(onlookers.ring) == 0 and onlookers.passed_by == 0
        assert len(gone) == 2
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def test_a_pasted_secret_is_tried_on_what_came_before_and_forgotten() -> None:
    ring = RequestRing()
    shown = ShownRequests(ring, {"legitmark": SourceSecrets([])}, base=lambda: "http://127.0.0.1:8080")
    body = event()
    headers = [(name.encode(), str(value).encode()) for name, value in signed(body)]
    now = float(headers[1][1])
    ring.put(CaughtRequest(number=1, at=now, method="POST", target="/", headers=headers, body=body, length=0, source="legitmark"))
    request = ring.get(1)
    assert request is not None
    assert shown.picture(request).signed is None
    shown.paste(Secret(SECRET))
    assert (shown.picture(request).signed, shown.picture(request).detail) == (True, "signed by the pasted secret")
    for _ in range(10):
        shown.paste(Secret("whsec_" + "A" * 32))
    assert shown.pasted == 4, "a bound"
    shown.forget()
    assert (shown.pasted, shown.picture(request).signed) == (0, None)
    shown.use({"legitmark": SourceSecrets([Suspect("env NEW", Secret(SECRET))])})
    assert shown.picture(request).detail == "signed by env NEW", "a reload counts for what came before"


def test_pictures_are_made_once_and_are_bounded_by_the_ring() -> None:
    ring = RequestRing(most=10)
    shown = ShownRequests(ring, {None: SourceSecrets([Suspect("x", Secret(SECRET))])}, base=lambda: "")
    for number in range(1, 500):
        body = b"x" * 1000
        ring.put(CaughtRequest(number=number, at=0.0, method="POST", target="/", headers=(), body=body, length=1000))
        request = ring.get(number)
        assert request is not None
        assert shown.picture(request) is shown.picture(request)
