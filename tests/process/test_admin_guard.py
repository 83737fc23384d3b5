"""The guard of the admin listener: it decides who may change something, records the user, and refuses unclear requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.configurations import http_sink, route
from tests.support.exchange import Answer, Headers, exchange
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver

JSON = ("Content-Type", "application/json")
PAUSE = "/api/sinks/erp/pause"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("door")
    with Receiver() as receiver, Running(folder, http_sink(receiver) + route("erp")) as running, no_traceback(running):
        yield running


async def ask(running: Running, method: str, path: str, headers: Headers = (), body: bytes = b"{}", host: str = "") -> Answer:
    address = running.addresses["admin"]
    assert isinstance(address, tuple)
    lines = "".join(f"{name}: {value!s}\r\n" for name, value in headers)
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {host or f'{address[0]}:{address[1]}'}\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    )
    return await exchange(address, head.encode() + body)


async def test_no_web_page_of_another_origin_may_change_anything(running: Running) -> None:
    host, port = running.addresses["admin"]  # type: ignore[misc]
    own, form = f"http://{host}:{port}", ("Content-Type", "text/plain")
    same = ("Sec-Fetch-Site", "same-origin")
    for headers, may in (
        ([JSON], True),
        ([("Content-Type", "Application/JSON; charset=utf-8")], True),
        ([], False),
        ([form], False),
        ([("Content-Type", "application/json-seq")], False),
        ([JSON, ("Cookie", "a=b")], False),
        ([same], True),
        ([same, form, ("Cookie", "a=b")], True),
        ([same, ("Origin", own)], True),
        ([same, same], False),
        *(([JSON, ("Sec-Fetch-Site", site)], False) for site in ("cross-site", "same-site", "none", "", "Same-Origin")),
        ([JSON, ("Origin", own), ("Sec-Fetch-Site", "cross-site")], False),
        ([("Origin", own)], True),
        ([("Origin", own), form, ("Cookie", "a=b")], True),
        ([JSON, ("Origin", own), ("Origin", own)], False),
        ([JSON, ("Origin", f"https://{host}:{port}")], False),
        ([JSON, ("Origin", f"http://{host}:3000")], False),
        ([JSON, ("Origin", f"http://{host}")], False),
        ([JSON, ("Origin", f"http://localhost:{port}")], False),
        ([JSON, ("Origin", "null")], False),
        ([JSON, ("Origin", f"{own}/page")], False),
    ):
        for method, path in (("POST", PAUSE), ("POST", "/-/reload"), ("POST", "/api/discard"), ("DELETE", "/-/healthy")):
            answer = await ask(running, method, path, headers)
            assert (answer.status == 403) is not may, (headers, path, answer)
        assert (await ask(running, "POST", "/api/sinks/erp/resume", [JSON])).status == 200
    assert (await ask(running, "GET", "/-/healthy", [("Sec-Fetch-Site", "cross-site")])).status == 200, "reading is not asked"
    local = await ask(running, "POST", PAUSE, [("Origin", f"http://localhost:{port}")], host=f"localhost:{port}")
    assert local.status == 200, "the page is called as the browser calls it"
    assert (await ask(running, "POST", "/api/sinks/erp/resume", [JSON])).status == 200


async def test_the_actor_is_the_authenticated_user_and_a_name_in_the_body_is_only_a_claim(running: Running) -> None:
    assert (await ask(running, "POST", PAUSE, [JSON], b'{"actor": "the boss"}')).status == 200
    assert (await ask(running, "POST", "/api/sinks/erp/resume", [JSON])).status == 200
    paused, resumed = running.audit("sink.paused")[-1], running.audit("sink.resumed")[-1]
    assert (paused["actor"], paused["claimed"]) == ("admin", "the boss")
    assert resumed["actor"] == "admin" and "claimed" not in resumed
    assert (await ask(running, "POST", "/-/reload?actor=somebody", [JSON])).status == 200
    reloaded = running.audit("config.reloaded")[-1]
    assert (reloaded["actor"], reloaded["claimed"]) == ("admin", "somebody")


@pytest.mark.parametrize(
    "path",
    [
        *(f"/-/reload?dry_run={value}" for value in ("yes", "", "2", "TRUE", "on", "01")),
        *("/-/reload?dry-run=1", "/-/reload?dry_run=1&dry_run=0", "/-/reload?file=", "/-/reload?actor=", "/-/reload?nonsense"),
        *("/-/reload?file=%00", "/-/reload?file=/etc/%00x", f"/-/reload?file={'a' * 5000}", f"/-/reload?actor={'a' * 300}"),
        *("/-/healthy?x=1", "/-/ready?verbose", "/metrics?name[]=a", "/api/status?x=1", "/api/sinks?x=1"),
        *(
            f"/api/messages?{query}"
            for query in ("limit=0", "limit=-1", "limit=501", "limit=1_0", "limit=a", "limit=", "after=-1")
        ),
        *(f"/api/messages?{query}" for query in ("since=nan", "until=inf", "since=yesterday", "state=deaad", "status=x", "id=")),
        *("/api/messages?state=dead", "/api/messages?sink=erp", "/api/deliveries?status=unrouted"),
        *("/api/messages?sate=dead", "/api/messages?limit=1&limit=2", "/api/messages/x?y=1", "/api/deliveries?after=x.erp"),
        *("/api/routing?since=x", "/api/routing?after=1.5", "/api/routing?limit=1", "/api/deliveries?after=%D9%A1.erp"),
    ],
)
async def test_an_unknown_parameter_is_refused_and_nothing_is_done(running: Running, path: str) -> None:
    before = len(running.audit())
    method = "POST" if path.startswith("/-/reload") else "GET"
    answer = await ask(running, method, path, [JSON])
    assert answer.outcome == (400, "bad_request") and answer.json()["detail"]
    assert len(running.audit()) == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PAUSE, '{"actr": "x"}'),
        (PAUSE, '{"actor": "x", "actor": "y"}'),
        (PAUSE, '{"actor": 1}'),
        (PAUSE, '{"actor": "\\ud800"}'),
        (PAUSE, "[]"),
        (PAUSE, "nonsense"),
        (f"{PAUSE}?now=1", "{}"),
        ("/-/reload", '{"dry_run": true}'),
        ("/-/reload", "x"),
        ("/api/check", '{"quick": true}'),
        ("/api/discard", '{"selection": {}, "dryrun": true}'),
        ("/api/discard", '{"selection": {"sate": "dead"}}'),
        ("/api/discard", '{"selection": {"status": "unrouted", "state": "dead"}}'),
        ("/api/discard", '{"selection": {"id": "a", "id": "b"}}'),
        ("/api/discard", '{"selection": {}, "dry_run": "yes"}'),
        ("/api/replay", '{"selection": {}, "after": {"seq": 1, "sink": "", "x": 1}}'),
        ("/api/drill", '{"sink": "erp", "evnt": "authentic"}'),
        ("/api/backup", '{"file": "relative"}'),
        ("/api/backup", '{"file": "/x\\u0000y"}'),
        ("/api/backup", '{"file": "/x", "overwrite": "1"}'),
        ("/api/backup", "{}"),
        ("/api/reverify", '{"sources": "legitmark"}'),
    ],
)
async def test_an_unknown_field_is_refused_and_nothing_is_done(running: Running, path: str, body: str) -> None:
    before = len(running.audit())
    answer = await ask(running, "POST", path, [JSON], body.encode())
    assert answer.outcome == (400, "bad_request") and answer.json()["detail"]
    assert len(running.audit()) == before


@pytest.mark.parametrize("file", ["/", "/etc", ".", "/dev/null", "/%20", "%E2%80%AE", "x" * 300])
async def test_a_reload_of_another_file_is_refused_with_the_file_in_use(running: Running, file: str) -> None:
    answer = await ask(running, "POST", f"/-/reload?file={file}", [JSON])
    assert answer.outcome == (422, "bad_configuration") and str(running.config) in answer.body.decode()


async def test_a_body_that_never_comes_is_answered_after_5_s_and_delays_no_stop(tmp_path: Path) -> None:
    with Running(tmp_path, '[server]\nlisten = ["127.0.0.1:0"]\ndrain = "120s"\n[[routes]]\nsinks = []\n') as running:
        address = running.addresses["admin"]
        assert isinstance(address, tuple)
        head = "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{{"
        late = [exchange(address, head.format(path).encode()) for path in ("/-/reload", "/api/discard", "/api/check")]
        answers = await asyncio.gather(*late)
        assert {answer.outcome for answer in answers} == {(408, "timeout")}
        assert all(answer.seconds > 4.5 for answer in answers)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(head.format("/api/discard").encode())
        assert json.loads((await running.admin("/-/healthy")).body) == {"status": "healthy"}
        assert await running.stop() == 0
        assert b" 408 " not in await reader.read(), "the stop did not wait for the 5 s of a body, nor for the drain"
        assert "gateway.cut" not in running.stderr()
        writer.transport.abort()
