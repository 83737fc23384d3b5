"""More webhooks than the disk can take: a bounded number waits for the commit, and the rest is refused with `Retry-After`."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from gateway.store.base import MOST_WAITING
from gateway.web.server.places import MOST_CONNECTIONS
from tests.store.kit import Trap, new, one, serving
from tests.support.exchange import Answer, exchange, request_bytes
from tests.support.webhook_listener import audit_log, webhook_listener
from tests.support.webhooks import event, signed


async def test_a_request_beyond_those_that_may_wait_is_answered_overloaded_and_the_others_are_kept(tmp_path: Path) -> None:
    database, release = tmp_path / "gateway.db", threading.Event()

    async with (
        audit_log(tmp_path / "audit.jsonl") as audit,
        serving(database, audit=audit) as store,
        webhook_listener(store, audit) as live,
    ):

        async def post(number: int = 0) -> Answer:
            body = event()
            # One peer alone holds at most a quarter of the places: its further requests would not be read.
            peer = (f"127.0.0.{2 + number * 8 // MOST_CONNECTIONS}", 0)
            return await exchange(live.address, request_bytes(body, signed(body)), local_addr=peer)

        in_commit = threading.Event()

        def hold() -> None:
            in_commit.set()
            release.wait(60)

        held = asyncio.ensure_future(store.accept(new(Trap("held", hold))))
        try:
            assert await asyncio.to_thread(in_commit.wait, 10)
            posts = [asyncio.ensure_future(post(number)) for number in range(MOST_WAITING + 1)]
            done, waiting = await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED, timeout=60)
            (refused,) = [task.result() for task in done]
            assert refused.outcome == (503, "overloaded") and refused.header("retry-after") == "5"
            assert set(refused.json()) == {"error", "detail"} and len(waiting) == MOST_WAITING
        finally:
            release.set()
        assert {answer.outcome for answer in await asyncio.gather(*waiting)} == {(200, "accepted")}
        await held
        assert (await post()).outcome == (200, "accepted"), "the sender's next try"
        await audit.flush()
        assert one(database, "SELECT count(*) FROM messages") == MOST_WAITING + 2
        assert b'"event":"message.rejected","source":"legitmark","reason":"overloaded"' in audit.path.read_bytes()
