"""Whole signed HTTP requests, made before a slice begins, so that the load costs little while it is measured."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from gateway.core.samples import SAMPLES
from tests.support.webhooks import PATH, hmac_signature

Shape = Literal["growing", "scattered", "repeated", "followed"]
"""`growing`: service requests and timestamps that grow, as those of a sender do. `scattered`: service requests in no order.
`repeated`: growing, and each request comes twice, the second time REPEATED_AFTER requests later. `followed`: each service request
has the events of STATES, with those of FOLLOWED_TOGETHER others between two of them."""
REPEATED_AFTER = 256
STATES = (
    *(("QC", "PENDING"), ("QC", "APPROVED"), ("QUEUE", None), ("UNDERWAY", "ASSIGNED"), ("UNDERWAY", "APPROVED")),
    *(("COMPLETE", "REJECTED"), ("COMPLETE", "COMPLETE")),
)
FOLLOWED_TOGETHER = 2000


_Parts = tuple[str, str, str]
"""The text of a body before the service request, between that and the timestamp, and behind it."""


def _body(primary: str, supplement: str | None) -> str:
    state = {"primary": primary, "supplement": supplement}
    values = {**SAMPLES["counterfeit"], "sr_uuid": "SR", "timestamp": "TIMESTAMP", "state": state}
    return json.dumps(values, separators=(",", ":"))


def _parts(body: str) -> _Parts:
    before, rest = body.split("SR", 1)
    between, after = rest.split("TIMESTAMP")
    return before, between, after


_BODY = _body("COMPLETE", "REJECTED")
_COUNTERFEIT = _parts(_BODY)
_STORY = tuple(_parts(_body(*state)) for state in STATES)
_numbers = itertools.count(1)


def write_webhooks(file: Path, count: int, shape: Shape = "growing", *, path: str = PATH) -> None:
    """Write `count` requests with ids that no other request of this process has."""
    write(file, _repeated(count, path) if shape == "repeated" else (webhook(shape, path) for _ in range(count)))


def webhook(shape: Shape = "growing", path: str = PATH) -> bytes:
    """Return the request of the next event."""
    number = next(_numbers)
    step, place = _followed(number) if shape == "followed" else (_COUNTERFEIT, number)
    before, between, after = step
    service_request = str(uuid.uuid4()) if shape == "scattered" else f"{place:08x}-0000-7000-8000-000000000000"
    body = f"{before}{service_request}{between}{timestamp(number)}{after}".encode()
    message_id, now = f"msg_{number:027d}", str(int(time.time()))
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nsvix-id: {message_id}\r\n"
        f"svix-timestamp: {now}\r\nsvix-signature: {hmac_signature(message_id, now, body)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def _followed(number: int) -> tuple[_Parts, int]:
    """Return the parts of the event of a number, and the place of the service request that it is about."""
    block, rest = divmod(number, len(STATES) * FOLLOWED_TOGETHER)
    step, place = divmod(rest, FOLLOWED_TOGETHER)
    return _STORY[step], block * FOLLOWED_TOGETHER + place


def timestamp(milliseconds: int) -> str:
    """Return an instant some milliseconds after the beginning of 2026."""
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"2026-01-{days + 1:02}T{hours:02}:{minutes:02}:{seconds:02}.{rest:03}Z"


def alert() -> bytes:
    """Return the request that gives Alertmanager one alert, which no other alert is grouped with."""
    body = json.dumps([{"labels": {"alertname": "verdict", "sr_uuid": f"sr-{next(_numbers)}"}, "annotations": {"body": _BODY}}])
    head = "POST /api/v2/alerts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def write(file: Path, requests: Iterator[bytes]) -> None:
    """Write requests, each after its length in eight digits."""
    with file.open("wb") as out:
        for request in requests:
            out.write(b"%08d" % len(request) + request)


def read(file: Path) -> list[bytes]:
    data, at, found = file.read_bytes(), 0, []
    while at < len(data):
        end = at + 8 + int(data[at : at + 8])
        found.append(data[at + 8 : end])
        at = end
    return found


def _repeated(count: int, path: str) -> Iterator[bytes]:
    for _ in range(0, count, 2 * REPEATED_AFTER):
        block = [webhook("growing", path) for _ in range(REPEATED_AFTER)]
        yield from block
        yield from block
