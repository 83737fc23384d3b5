"""Receiving ends on loopback. Each runs in a thread of its own, so that it answers whatever a test does with its event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as email_policy
from typing import Any, NamedTuple, Self

from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    at: float
    """Monotonic seconds."""


class Receiver:
    """An HTTP server that records what it is sent; it fails and hangs on demand."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.script: deque[tuple[int, dict[str, str]]] = deque()
        """Status and headers of the next answers; when it is empty, `always` answers."""
        self.always: tuple[int, dict[str, str]] = (200, {})
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receiver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def hold(self) -> None:
        """Leave every request without an answer until `release`."""
        self._call(self._open.clear)

    def release(self) -> None:
        self._call(self._open.set)

    def of(self, body: bytes) -> list[Received]:
        """The requests that had this body."""
        return [request for request in self.requests if request.body == body]

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Record a request and answer it; a subclass may do something before or after that."""
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Received(request.path, headers, body, time.monotonic()))
        await self._open.wait()
        status, answer_headers = self.script.popleft() if self.script else self.always
        said = "ok" if status == 200 else None  # a Slack webhook that answers anything else has not taken the message
        return web.Response(status=status, headers=answer_headers, text=said)

    async def _start(self) -> None:
        self._open.set()
        self._runner = web.ServerRunner(web.Server(self.answer, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def _call(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(30)


class Mailbox:
    """A real SMTP server that keeps what it is sent."""

    def __init__(self, port: int, *, logins: bool | None = None) -> None:
        """`logins` says what happens to a login: every one succeeds (True), every one fails (False), none is offered (None)."""
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.logins: list[LoginPassword] = []
        self.port = port
        self._takes_logins = logins
        options: dict[str, Any] = {}
        if logins is not None:
            options = {"authenticator": self._authenticate, "auth_require_tls": False}
        self._controller = Controller(self, hostname="127.0.0.1", port=port, **options)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        assert isinstance(envelope.content, bytes)
        mail = BytesParser(policy=email_policy).parsebytes(envelope.content)
        self.mails.append(mail)
        return "250 OK"

    def _authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: object) -> AuthResult:
        assert isinstance(given, LoginPassword)
        self.logins.append(given)
        return AuthResult(success=bool(self._takes_logins), handled=False)
