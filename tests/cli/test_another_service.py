"""Another service listens at the gateway's address: each command says so, and none mistakes its answer for a gateway's."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import environment, gateway
from tests.docs.commands import COMMANDS as ALL_COMMANDS
from tests.docs.commands import command_in, options_of

ANSWERS = {
    "an object": b"{}",
    "nothing": b"null",
    "a list": b"[]",
    "a number": b"3",
    "a page": b"<html>hello</html>",
    "no text": b"\xff\xfe",
    "a deep list": b"[" * 100_000,
    "lists of nothing": b'{"messages": [{}], "deliveries": [null], "sources": [{}], "after": null, "more": false}',
}
COMMANDS = (
    *(
        ["sr", "x"],
        ["srs"],
        ["messages"],
        ["messages", "--json"],
        ["deliveries"],
        ["show", "x"],
        ["status"],
        ["status", "--json"],
    ),
    *(["replay", "x", "--yes"], ["discard", "x", "--yes"], ["pause", "archive"], ["resume", "archive"], ["drill", "archive"]),
    *(["reload"], ["reload", "--diff"], ["reverify"], ["redecode", "--since", "1d"], ["db", "backup", "copy"], ["db", "check"]),
    *(["evidence", "export", "x", "proof"], ["reconcile", "x"]),
    *(["backtest", "--against", "gateway.toml"], ["route", "a" * 32], ["send", "a" * 32]),
)


def test_every_command_that_asks_the_gateway_is_tried_here() -> None:
    tried = {command_in(["gateway", *call]) for call in COMMANDS}
    asking = {name for name in ALL_COMMANDS if "--admin" in options_of(name)}
    assert asking <= tried, "add a call of the command to COMMANDS"


@contextmanager
def service(body: bytes, status: int = 200) -> Iterator[str]:
    """The address of an HTTP server that gives every request the same answer."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("what", ANSWERS)
def test_no_command_mistakes_the_answer_of_another_service_for_a_gateways(what: str, folder: Path) -> None:
    with service(ANSWERS[what]) as address:
        calls = "".join(json.dumps([*command, "--admin", address]) + "\n" for command in COMMANDS)
        done = subprocess.run(
            [sys.executable, "-m", "tests.cli.fuzzing"],
            cwd=folder,
            env=environment(),
            input=calls.encode(),
            capture_output=True,
            timeout=120,
            check=True,
        )
    results: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(COMMANDS)
    assert [(one["call"][0], one["status"], one["out"]) for one in results if one["status"] != 69 or one["out"]] == []
    assert {one["err"].count("\n") for one in results} == {1}
    assert {f"the server at {address} is not a gateway" in one["err"] for one in results} == {True}


@pytest.mark.parametrize("body", [b"\xff\xfe\x1b[31m", b"", b"[" * 1000], ids=["no text", "nothing", "lists"])
@pytest.mark.parametrize("status", [200, 500])
def test_any_answer_to_a_webhook_is_shown_in_one_line(body: bytes, status: int, folder: Path) -> None:
    with service(body, status) as address:
        result = gateway("send", "counterfeit", "--url", f"http://{address}/x", cwd=folder)
    assert result.status == (status != 200)
    assert result.out.startswith(f"{status}  ")
    assert result.out.count("\n") == 1
    assert result.out.removesuffix("\n").isprintable()
