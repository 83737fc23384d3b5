"""Requests of all forms on one connection, cut and joined anywhere: a client reads the same with the short way and without it."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.core.records import NewMessage
from tests.fakes import FakeClock
from tests.support.exchange import request_bytes
from tests.support.waiting import PATIENCE, until
from tests.support.webhook_listener import (
    BODY,
    CLOSED,
    LOOPS,
    OPEN,
    Store,
    audit_log,
    connection,
    on_loop,
    webhook,
    webhook_listener,
)
from tests.support.webhooks import event

DATE = re.compile(rb"Date: [^\r]*\r\n")
PLAIN = webhook()
KINDS = {
    "plain": PLAIN,
    "another plain one": webhook(event("sr-2"), sender_id="msg_2"),
    "refused": webhook(age=3600),
    "forbidden": webhook(path=CLOSED),
    "unsigned": request_bytes(BODY, path=OPEN),
    "no JSON": request_bytes(b"{", path=OPEN),
    "quarantined": webhook(b"[]"),
    "another method": PLAIN.replace(b"POST", b"GET", 1),
    "no source": webhook(path="/nowhere"),
    "a query": webhook(path="/webhooks/legitmark?a=b"),
    "chunks": PLAIN.replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked").replace(
        BODY, b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    ),
    "an empty line before it": b"\r\n" + PLAIN,
    "Expect": webhook(BODY, ("Expect", "100-continue")),
    "a body within a body": webhook(PLAIN, sender_id="msg_3"),
}
"""Requests after which the connection stays open, except for `no JSON`."""
LAST = {
    "the end": webhook(BODY, ("Connection", "close")),
    "HTTP/1.0": PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "two lengths": webhook(BODY, ("Content-Length", "1")),
    "both framings": webhook(BODY, ("Transfer-Encoding", "chunked")),
    "a line feed alone": PLAIN.replace(b"\r\n", b"\n", 1),
    "a body that is too long": PLAIN + b"GET\r\n\r\n",
}
"""Requests that end the connection."""


class CountedIds(FakeClock):
    """A clock that numbers the messages."""

    last = 0

    def new_id(self) -> str:
        self.last += 1
        return f"{self.last:032x}"


class Said(NamedTuple):
    answers: bytes
    audit: bytes
    stored: list[NewMessage]


async def said(pieces: Sequence[bytes], turns: int, last: bytes, *, short: bool) -> tuple[Said, int]:
    """Send the pieces, some turns of the loop apart; when they are read, send the last request, and read to the end.

    The last request is a packet of its own, because aiohttp refuses all requests of a packet if one of them is malformed.
    """
    clock = CountedIds()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.jsonl"
        async with (
            audit_log(path, clock) as audit,
            webhook_listener(store := Store(audit), audit, clock=clock, short=short) as live,
        ):
            async with asyncio.timeout(PATIENCE), connection(live) as (reader, writer):
                for piece in pieces:
                    writer.write(piece)
                    for _ in range(turns):
                        await asyncio.sleep(0)  # a turn of the loop
                await until(lambda: writer.transport.get_write_buffer_size() == 0)
                await until(lambda: not any(one.unread() for one in live.server.places))
                writer.write(last)
                answers = await reader.read()
            await audit.flush()
        return Said(DATE.sub(b"", answers), path.read_bytes() if path.exists() else b"", store.messages), len(live.taken)


def cut(raw: bytes, at: Sequence[int]) -> list[bytes]:
    if not raw:
        return []
    ends = sorted({place % len(raw) for place in at} | {len(raw)})
    return [raw[begin:end] for begin, end in zip([0, *ends], ends, strict=False) if end > begin]


@pytest.mark.parametrize("loop", LOOPS)
@given(
    names=st.lists(st.sampled_from(sorted(KINDS)), max_size=5),
    last=st.sampled_from(sorted(LAST)),
    joined=st.booleans(),
    cuts=st.lists(st.integers(0, 4000), max_size=4),
    turns=st.integers(0, 12),
)
@example(names=["plain", "another plain one", "plain"], last="two lengths", joined=False, cuts=[], turns=1)
@example(names=["plain", "chunks", "plain", "plain"], last="the end", joined=False, cuts=[], turns=3)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_client_reads_the_same_whatever_it_sends(
    loop: str, names: list[str], last: str, joined: bool, cuts: list[int], turns: int
) -> None:
    requests = [KINDS[name] for name in names]
    pieces = cut(b"".join(requests), cuts) if joined else requests

    async def test() -> None:
        short, _ = await said(pieces, turns, LAST[last], short=True)
        long, taken = await said(pieces, turns, LAST[last], short=False)
        assert taken == 0 and short == long

    on_loop(loop, test)


async def test_plain_requests_among_others_take_the_short_way() -> None:
    _, taken = await said([KINDS["plain"], KINDS["refused"]], 200, LAST["the end"], short=True)
    assert taken == 2
