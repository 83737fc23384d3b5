"""`gateway reconcile`: asks through the running gateway, shows what needs a look, and its exit code tells the result."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gateway import SERVER
from tests.cli.backups import ARCHIVED, admin
from tests.cli.running import Result, environment
from tests.cli.running import command as command_line
from tests.cli.running import gateway as command
from tests.support import forked_gateway
from tests.support.fake_legitmark import KEY, NO_KEY, FakeLegitmark, found
from tests.support.gateway_process import Running, no_traceback
from tests.support.served_legitmark import served_legitmark
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import event

KNOWN = "b16c763b-1723-455d-ba29-164418044886"
ANOTHER = "1ed24ae2-45d8-47ff-bd07-4efc69cb6bc7"
NEVER_CAME = "f79d24dc-49c6-4904-9428-3850dc5528db"
AT = "2026-03-01T22:05:59.000Z"
LATER = "2026-03-02T22:05:59.000Z"


def table(api: FakeLegitmark) -> str:
    return f'[reconcile]\nurl = "{api.url}"\napi_key = {{ env = "LEGITMARK_API_KEY" }}\n'


@pytest.fixture
def api() -> Iterator[FakeLegitmark]:
    with served_legitmark() as api:
        yield api


@pytest.fixture
def running(tmp_path: Path, api: FakeLegitmark) -> Iterator[Running]:
    """A gateway that heard of two service requests, both with the reference id BAG-1."""
    with Running(tmp_path, table(api) + ARCHIVED, {"LEGITMARK_API_KEY": KEY}) as running, no_traceback(running):
        for sr_uuid in (KNOWN, ANOTHER):
            asyncio.run(running.post(event(sr_uuid)))
            api.says(sr_uuid, found(sr_uuid, "QC", "PENDING", AT))
        yield running


def reconcile(running: Running, *arguments: str, stdin: bytes = b"") -> Result:
    return command("reconcile", "--admin", admin(running), *arguments, stdin=stdin)


def test_requests_that_agree_are_counted(running: Running, api: FakeLegitmark) -> None:
    result = reconcile(running, "BAG-1", KNOWN[:8])
    assert (result.status, result.out, result.err) == (0, "2 requests asked: 2 agree\n", "")
    assert sorted(api.order) == sorted([KNOWN, ANOTHER])
    (line,) = running.audit("reconcile.finished")
    assert (line["count"], line["actor"]) == (2, "admin")
    assert line["claimed"]


def test_ids_come_from_stdin_also_those_that_never_came(running: Running, api: FakeLegitmark) -> None:
    result = reconcile(running, "-", "--json", stdin=f"# from the partner\n{KNOWN}\n\n{NEVER_CAME}\n".encode())
    assert result.status == 1
    document = result.document()
    assert {name: document[name] for name in ("total", "done", "same", "not_found", "stopped")} == {
        "total": 2,
        "done": 2,
        "same": 1,
        "not_found": 1,
        "stopped": None,
    }
    same, missing = document["requests"]
    assert same == {
        "sr_uuid": KNOWN,
        "reference_id": "BAG-1",
        "result": "same",
        "known_state": "QC/PENDING",
        "state": "QC/PENDING",
        "updated_at": AT,
        "emitted": False,
        "detail": "",
    }
    assert (missing["sr_uuid"], missing["result"], missing["known_state"]) == (NEVER_CAME, "not_found", None)


def test_a_request_that_was_not_found_is_shown(running: Running) -> None:
    result = reconcile(running, NEVER_CAME)
    said = f"not found  {NEVER_CAME}  Legitmark knows no such service request\n1 request asked: 1 not found\n"
    assert (result.status, result.out) == (1, said)
    assert "sr.not_found" in (running.folder / "audit.jsonl").read_text()


def test_a_refused_key_is_told_and_stays_in_the_status(running: Running, api: FakeLegitmark) -> None:
    api.says(KNOWN, NO_KEY)
    result = reconcile(running, KNOWN)
    assert (result.status, result.out) == (1, "0 requests asked\n")
    assert "the API refused the key (HTTP 401 Unauthorized" in result.err and "[reconcile] api_key" in result.err
    status = command("status", "--admin", admin(running))
    assert status.status == 1
    assert "reconciliation stopped: HTTP 401" in status.out
    assert KEY not in result.err + status.out + running.stderr()


def test_a_reload_brings_another_key(tmp_path: Path, api: FakeLegitmark) -> None:
    file = tmp_path / "api-key"
    file.write_text("leo_pk_expired_0815")
    file.chmod(0o600)
    api.says(KNOWN, found(KNOWN, "QC", "PENDING", AT))
    with Running(tmp_path, table(api).replace('env = "LEGITMARK_API_KEY"', 'file = "api-key"') + ARCHIVED) as running:
        asyncio.run(running.post(event(KNOWN)))
        assert "refused the key" in reconcile(running, KNOWN).err
        file.write_text(KEY)
        assert command("reload", "--admin", admin(running), cwd=tmp_path).status == 0
        assert "reconciliation stopped" not in command("status", "--admin", admin(running)).out
        assert reconcile(running, KNOWN).status == 0
    assert "leo_pk_expired_0815" not in running.stderr()


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        ([], b"", "name service requests by their ids, with - on stdin, or by --open"),
        (["-"], b"\n# nothing\n", "there is no id on stdin"),
        (["--opne"], b"", "unknown option: --opne"),
        ([""], b"", "an ID is empty: is a variable not set?"),
        (["BAG-404"], b"", 'no service request has the id "BAG-404"'),
    ],
)
def test_nothing_is_asked_unless_something_that_exists_is_named(
    arguments: list[str], stdin: bytes, said: str, running: Running, api: FakeLegitmark
) -> None:
    result = reconcile(running, *arguments, stdin=stdin)
    assert (result.status, result.out) == (2, "")
    assert said in result.err
    assert api.asked == []


def test_without_the_table_the_command_says_what_is_missing(tmp_path: Path) -> None:
    with Running(tmp_path, ARCHIVED) as running:
        result = reconcile(running, KNOWN)
    assert (result.status, result.out) == (2, "")
    assert "the configuration has no [reconcile]" in result.err


def test_ctrl_c_ends_the_reconciliation_in_the_gateway(running: Running, api: FakeLegitmark) -> None:
    api.says(KNOWN, found(KNOWN, "COMPLETE", "APPROVED", LATER))  # it would be asked for again after a minute
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    arguments = command_line("reconcile", "--admin", admin(running), KNOWN)
    with forked_gateway.start(arguments, env=environment(), **pipes) as process:
        asyncio.run(until(lambda: api.asked))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    asyncio.run(until(lambda: running.audit("reconcile.stopped")))
    assert "ended by admin" in running.audit("reconcile.stopped")[0]["detail"]


def test_show_and_messages_tell_that_no_sender_signed_an_event_of_a_reconciliation() -> None:
    message: dict[str, Any] = {
        **dict.fromkeys(("sender_id", "content_type"), None),
        "message_id": "019c",
        "source": "reconcile",
        "event_type": "state_change",
        "milestone": "authentic",
        "sr_uuid": KNOWN,
        "reference_id": None,
        "time": AT,
        "status": "accepted",
        "duplicates": 0,
        "body": "{}",
        "deliveries": [],
        "conflicts": [],
        "more_conflicts": False,
    }
    with answering({"/api/messages/019c": {"messages": [message], "more": False}}) as address:
        shown = command("show", "019c", "--admin", address)
    with answering({"/api/messages": {"messages": [message | {"sinks": {}}], "after": None}}) as address:
        listed = command("messages", "--admin", address)
    assert "made from an answer of Legitmark's API by a reconciliation: no sender signed it" in shown.out
    assert "from reconcile" not in shown.out
    assert f"authentic  {KNOWN}  reconciled, not signed" in listed.out


JOB = {"trigger": "person", "actor": "admin", "total": 3, "waiting_seconds": 0.0, "waiting_for": None, "stopped": None}
COUNTS = dict.fromkeys(("done", "same", "older", "differs", "not_found", "failed", "confirming"), 0)
BEGUN = {"job": 7, **JOB, **COUNTS, "confirming": 1, "waiting_seconds": 4.0, "waiting_for": "HTTP 503"}
ENDED = {"job": 7, **JOB, **COUNTS, "done": 3, "older": 1, "differs": 1, "failed": 1}
FINDINGS: list[dict[str, Any]] = [
    {"sr_uuid": "u1", "reference_id": None, "result": "older", "detail": "", "emitted": False},
    {"sr_uuid": "u2", "reference_id": "BAG-2", "result": "differs", "detail": "it says A, we know B\x1b[1m", "emitted": True},
    {"sr_uuid": "u3", "reference_id": None, "result": "failed", "detail": "HTTP 500", "emitted": False},
]
FOLLOWED: dict[str, object] = {
    "POST /api/reconcile": BEGUN,
    "/api/reconcile/7?after=0&": {"job": BEGUN, "requests": FINDINGS[:1], "after": 1},
    "/api/reconcile/7?after=1&": {"job": BEGUN, "requests": [], "after": 2},
    "/api/reconcile/7?after=2&": {"job": ENDED, "requests": FINDINGS[1:], "after": None},
}
"""A reconciliation that is under way at first, and over at the third look."""


@contextmanager
def answering(documents: dict[str, object]) -> Iterator[str]:
    """The address of an admin listener that answers as docs/reference.md describes it ("Admin API").

    A document is sent to each request whose path begins with its key.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert (asked["open"], asked["ids"]) == (True, [])
            self._send("POST ")

        def do_GET(self) -> None:
            self._send("")

        def _send(self, method: str) -> None:
            document = next(document for path, document in documents.items() if f"{method}{self.path}".startswith(path))
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def version_string(self) -> str:
            return SERVER

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_what_differs_is_shown_as_it_is_found_page_by_page() -> None:
    with answering(FOLLOWED) as address:
        result = command("reconcile", "--open", "--admin", address)
    assert result.status == 1
    assert result.out.splitlines() == [
        "differs  BAG-2  u2  it says A, we know B?[1m  told to the routes as an event",
        "failed  u3  HTTP 500",
        "3 requests asked: 1 answered older, 1 differ, 1 failed",
    ]


def test_everything_is_one_json_document() -> None:
    with answering(FOLLOWED) as address:
        result = command("reconcile", "--open", "--json", "--admin", address)
    assert (result.status, result.err) == (1, "")
    document = result.document()
    assert (document["requests"], document["differs"], document["stopped"]) == (FINDINGS, 1, None)


def test_all_open_requests_are_asked_for_and_none_that_has_ended(running: Running, api: FakeLegitmark) -> None:
    asyncio.run(running.post(event(ANOTHER, state={"primary": "COMPLETE", "supplement": "APPROVED"}, timestamp=LATER)))
    result = reconcile(running, "--open")
    assert (result.status, result.out) == (0, "1 request asked: 1 agree\n")
    assert api.order == [KNOWN]


def test_a_start_after_a_long_pause_asks_for_the_open_requests_by_itself(running: Running, api: FakeLegitmark) -> None:
    asyncio.run(running.stop())
    with closing(sqlite3.connect(running.database)) as connection, connection:  # the pause, without waiting for it
        connection.execute("UPDATE messages SET received_ms = received_ms - 3 * 3600 * 1000")
    assert api.asked == []
    running.start()
    asyncio.run(until(lambda: running.audit("reconcile.finished", actor="gap")))
    assert sorted(api.order) == sorted([KNOWN, ANOTHER])
