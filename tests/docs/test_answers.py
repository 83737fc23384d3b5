"""A running gateway gives the answers that `docs/reference.md` lists: each code with its HTTP status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from tests.docs.reading import ROOT, marked, rows, text_of, words
from tests.support.exchange import request_bytes
from tests.support.gateway_process import Running
from tests.support.webhooks import PATH, event, signed

STATUSES = {words(row[1])[0]: int(row[0]) for row in rows(marked(text_of(ROOT / "docs/reference.md"), "answers"))}
"""The HTTP status of each code."""

BODY = event("sr-answers")
OPEN = "/webhooks/open"
REQUESTS: dict[str, Callable[[], bytes]] = {
    "not_found": lambda: request_bytes(BODY, signed(BODY), path="/nowhere"),
    "forbidden": lambda: request_bytes(BODY, signed(BODY), path="/webhooks/closed"),
    "method_not_allowed": lambda: request_bytes(BODY, signed(BODY), path=PATH, method="PUT"),
    "unsupported_encoding": lambda: request_bytes(BODY, [*signed(BODY), ("Content-Encoding", "gzip")], path=PATH),
    "body_too_large": lambda: request_bytes(b"x" * 2000, signed(BODY), path=PATH),
    "timeout": lambda: request_bytes(b"", [("Content-Length", "10")], path=PATH, length=False),
    "missing_signature": lambda: request_bytes(BODY, path=PATH),
    "bad_signature": lambda: request_bytes(BODY, signed(b"another body"), path=PATH),
    "stale_timestamp": lambda: request_bytes(BODY, signed(BODY, age=900), path=PATH),
    "malformed_body": lambda: request_bytes(b"[", path=OPEN),
}
UNTRIED = {"store_unavailable", "overloaded"}
"""A disk that fails or is slow answers these; tests/process/test_disk.py and tests/engine/test_overload.py have one."""

CONFIG = """
[server]
listen = ["127.0.0.1:0"]
max_body = "1KiB"

[sources.legitmark]
secrets = [{ env = "LEGITMARK" }]

[sources.open]
verify = "none"

[sources.closed]
secrets = [{ env = "LEGITMARK" }]
allow_from = ["203.0.113.0/24"]

[[routes]]
sinks = []
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("answers"), CONFIG) as running:
        yield running


def test_every_code_is_tried_here_or_elsewhere() -> None:
    assert {*REQUESTS, *UNTRIED} == set(STATUSES)


@pytest.mark.parametrize("code", REQUESTS)
def test_a_code_comes_with_the_status_that_the_reference_gives_it(code: str, running: Running) -> None:
    answer = asyncio.run(running.send(REQUESTS[code]()))
    assert answer.status == STATUSES[code]
    assert answer.json()["error"] == code
    assert set(answer.json()) == {"error", "detail"}
