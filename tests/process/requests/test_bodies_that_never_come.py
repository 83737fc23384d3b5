"""A body that does not come is a timeout after five seconds, and delays no other request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.process.requests.refusals import OPEN, refused
from tests.support.exchange import Answer, exchange, request_bytes
from tests.support.gateway_process import Running
from tests.support.waiting import PATIENCE
from tests.support.webhooks import event, signed


class HalfRequests:
    """Requests that stop halfway, on threads of their own, so that their five seconds pass while other tests run."""

    def __init__(self, running: Running) -> None:
        address = running.addresses["webhooks"]
        body = event()
        head = request_bytes(b"", [("Content-Length", str(len(body))), *signed(body)], length=False)
        chunked = request_bytes(b"", [("Transfer-Encoding", "chunked"), *signed(body)], length=False)
        unsigned = request_bytes(b"", [("Content-Length", "10")], length=False, path=OPEN)
        self.answers: dict[str, Answer | BaseException] = {}
        self._threads = [
            threading.Thread(target=self._send, args=(name, address, raw), daemon=True)
            for name, raw in {
                "no body": head,
                "half a body": head + body[:20],
                "half a chunk": chunked + b"20\r\n{",
                "no last chunk": chunked + b"2\r\n{}\r\n",
                "no signature": unsigned,
            }.items()
        ]
        for thread in self._threads:
            thread.start()

    def _send(self, name: str, address: tuple[str, int] | Path, raw: bytes) -> None:
        try:
            self.answers[name] = asyncio.run(exchange(address, raw))
        except Exception as error:
            self.answers[name] = error

    def join(self) -> dict[str, Answer | BaseException]:
        for thread in self._threads:
            thread.join(PATIENCE)
        return self.answers


@pytest.fixture(scope="module", autouse=True)
def half_requests(running: Running) -> Iterator[HalfRequests]:
    sent = HalfRequests(running)
    yield sent
    sent.join()


async def test_another_request_is_answered_fast_while_bodies_do_not_come(running: Running) -> None:
    body = event()
    head = request_bytes(b"", [("Content-Length", "500"), *signed(body)], length=False)
    async with AsyncExitStack() as stack:
        for _ in range(50):
            _, writer = await stack.enter_async_context(running.connection())
            writer.write(head + body[:10])
        answers = await asyncio.gather(*(running.post(event()) for _ in range(20)))
    assert {answer.outcome for answer in answers} == {(200, "accepted")}
    assert min(answer.seconds for answer in answers) < 4.5, "before the five seconds of those bodies were over"


@pytest.mark.parametrize("name", ["no body", "half a body", "half a chunk", "no last chunk", "no signature"])
def test_a_body_that_does_not_come_is_a_timeout_after_five_seconds(half_requests: HalfRequests, name: str) -> None:
    answer = half_requests.join()[name]
    assert isinstance(answer, Answer), answer
    refused(answer, 408, "timeout")
    assert answer.seconds > 4.5
