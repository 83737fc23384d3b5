"""The receivers of the demo, all real and all on this host: HTTP, Slack's protocol and SMTP. The JSONL file needs none."""

from __future__ import annotations

import asyncio
import email
import json
import logging
from email import policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session
from msgspec import Struct

from gateway.core.errors import RejectedWebhook
from gateway.core.signature import Key, verify
from gateway.host.clock import Clock

SLACK_PATH = "/services/T0/B0/demo-only"


class Received(Struct, frozen=True):
    """A callback that arrived at the ERP, the HTTP receiver."""

    delivery_id: str
    body: bytes
    signed: bool
    """True if its signature is valid."""
    late: bool
    """True if a header says that something that happened later was known already."""


class Receivers:
    """Servers that keep everything that arrives; they listen inside `async with`."""

    def __init__(self, erp_key: Key, clock: Clock) -> None:
        self.callbacks: list[Received] = []
        self.slack: list[dict[str, Any]] = []
        self.mails: list[EmailMessage] = []
        self.failures_left = 0
        """How many further callbacks the ERP answers with 500."""
        self.knows_order = True
        """False: the ERP answers 404."""
        self.http_port = 0
        self.smtp_port = 0
        self._key = erp_key
        self._clock = clock

    async def __aenter__(self) -> Receivers:
        loop = asyncio.get_running_loop()
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        self._runner = web.ServerRunner(web.Server(self._answer))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.http_port = self._runner.addresses[0][1]
        self._smtp = await loop.create_server(lambda: SMTP(self, hostname="localhost", loop=loop), "127.0.0.1", 0)
        self.smtp_port = self._smtp.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._smtp.close()
        await self._smtp.wait_closed()
        await self._runner.cleanup()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep a mail. The name of this method is aiosmtpd's."""
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        self.mails.append(email.message_from_bytes(content, policy=policy.default))
        return "250 OK"

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        if request.path == SLACK_PATH:
            self.slack.append(json.loads(body))
            return web.Response(text="ok")
        if self.failures_left:
            self.failures_left -= 1
            return web.Response(status=500)
        if not self.knows_order:
            return web.json_response({"error": "OrderNotFound"}, status=404)
        try:
            verify(request.raw_headers, body, [self._key], self._clock.now())
            signed = True
        except RejectedWebhook:
            signed = False
        self.callbacks.append(
            Received(request.headers.get("webhook-id", ""), body, signed, request.headers.get("x-gateway-stale") == "true")
        )
        return web.Response()
