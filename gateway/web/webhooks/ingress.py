"""`POST {source.path}`: the answers of docs/reference.md, "Receiving webhooks", checked in its order.

A request comes one of two ways: through aiohttp (`handle`), or, if its form is plain, without a task (`take`). Both go through
the same rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec
from aiohttp import HttpVersion11, web

from gateway import NO_SOURCE
from gateway.core.errors import RejectedWebhook, StoreError
from gateway.core.signature import claimed_id
from gateway.host.clock import Clock
from gateway.ingest.receive import Intake, Readable, Receipt, Source
from gateway.ingest.rejections import Rejections
from gateway.ingest.source_watch import SourceWatch
from gateway.observability.logs import Log, Sparing
from gateway.web.play.onlookers import Onlookers
from gateway.web.responses import Ack, PlainAnswer
from gateway.web.server.client_connection import ClientConnection
from gateway.web.server.plain_request import PlainRequest
from gateway.web.webhooks.access import Access
from gateway.web.webhooks.head import Head

_BODY_SECONDS = 5.0
_SIGNATURE = ("bad_signature", "stale_timestamp")
_SENDER = b"Svix-Webhooks"
"""How the sender's User-Agent begins (Svix documentation)."""
_RETRY_AFTER = (("Retry-After", "5"),)
_LATER = "nothing can be stored now, try again"


class Ingress:
    """Answers the webhook listener."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        intake: Intake,
        rejections: Rejections,
        *,
        watch: SourceWatch,
        onlookers: Onlookers,
        access: Access,
        max_body: int,
        clock: Clock,
        log: Log,
    ) -> None:
        """
        Args:
            sources: by path.
            max_body: bytes.
        """
        self._intake = intake
        self._rejections = rejections
        self._watch = watch
        self._onlookers = onlookers
        self.use(sources, access, max_body)
        self._clock = clock
        self._say = Sparing(log, clock.monotonic).say

    def use(self, sources: Mapping[str, Source], access: Access, max_body: int) -> None:
        """Answer by these rules from the next request on."""
        self._sources = sources
        self._access = access
        self._max_body = max_body

    def peer_of(self, address: str) -> str | None:
        """Return the peer that a connection counts for, by the current rules; see `Access.peer_of`."""
        return self._access.peer_of(address)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request that aiohttp read. Never with 500: an unexpected error is a 503, so that the sender keeps the
        message.
        """
        started = self._clock.monotonic()
        head = Head.of(request)
        source: Source | None = None
        body: bytes | None = None
        try:
            source = self._source(head)
            body = self._body_at_once(request, head, source)
            if body is None:
                body = await self._slow_body(request, head, source)
            readable = self._read(head, source, body)
            answer = self._accepted(await self._intake.receive(source, readable, started))
        except ConnectionError:
            raise
        except Exception as error:
            answer = self._refused(error, head, source)
        if self._onlookers.open:
            self._show(head, source, body, answer)
        if answer.status == 200 and request.version == HttpVersion11 and request.keep_alive:
            return Ack(answer)
        return answer.response()

    def take(self, request: PlainRequest, connection: web.RequestHandler, answer: Callable[[PlainAnswer], None]) -> bool:
        """Answer one plain request without a task, by the rules of `handle`; False leaves it to `handle`.

        False changes nothing, so that `handle` finds the request as if it had just come.
        """
        started = self._clock.monotonic()
        source = self._sources.get(request.path)
        if source is None or len(request.body) > self._max_body:
            return False
        head = Head.of_plain(request, connection)

        def told(result: Receipt | Exception) -> None:
            made = self._refused(result, head, source) if isinstance(result, Exception) else self._accepted(result)
            answer(made)
            if self._onlookers.open:
                self._show(head, source, request.body, made)

        try:
            source = self._source(head)
            readable = self._read(head, source, request.body)
            if not readable.is_event:
                return False  # people are told before the answer, and that takes a wait
            self._intake.submit(source, readable, told, started)
        except Exception as error:
            told(error)
        return True

    def _source(self, head: Head) -> Source:
        source = self._sources.get(head.path)
        if source is None:
            raise self._rejected(head, "", 404, "not_found", NO_SOURCE)
        if (stranger := self._access.stranger(source.name, head)) is not None:
            self._count(head, source.name, "forbidden", "the address is not in allow_from", stranger.audited)
            raise RejectedWebhook(403, "forbidden", stranger.told)
        if head.method != "POST":
            raise self._rejected(head, source.name, 405, "method_not_allowed", "webhooks are sent by POST")
        if b"content-encoding" in head.fields:
            raise self._rejected(
                head, source.name, 415, "unsupported_encoding", "send the body as it was signed, without Content-Encoding"
            )
        return source

    def _body_at_once(self, request: web.BaseRequest, head: Head, source: Source) -> bytes | None:
        """Return the body if it came in one packet with its headers, as nearly all do; else None."""
        content = request.content
        if not content.is_eof():
            if request.content_length is not None and request.content_length > self._max_body:
                raise self._too_large(head, source)
            return None
        body = content.read_nowait()
        if len(body) > self._max_body:
            raise self._too_large(head, source)
        return body

    async def _slow_body(self, request: web.BaseRequest, head: Head, source: Source) -> bytes:
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = request.content
        read = bytearray()
        protocol, client = request.protocol, self._access.client_of(head)
        if client is not None and isinstance(protocol, ClientConnection):
            protocol.count_for(client)  # slow bodies behind a proxy count for the client
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                while not content.at_eof():
                    read += await content.readany()
                    if len(read) > self._max_body:
                        raise self._too_large(head, source)
        except TimeoutError:
            raise self._rejected(head, source.name, 408, "timeout", f"the body did not come within {_BODY_SECONDS:g} s") from None
        except (web.RequestPayloadError, ValueError):
            # A broken transfer is not a webhook; the closed list has no reason for it, so it stays out of the audit log.
            raise RejectedWebhook(400, "bad_request", "the body is not well-formed HTTP") from None
        finally:
            if client is not None and isinstance(protocol, ClientConnection):
                protocol.count_for(None)
        return bytes(read)

    def _read(self, head: Head, source: Source, body: bytes) -> Readable:
        try:
            return self._intake.read(source, head.raw_headers, body, head.content_type)
        except RejectedWebhook as rejected:
            self._count(head, source.name, rejected.code, rejected.detail)
            raise

    def _accepted(self, receipt: Receipt) -> PlainAnswer:
        return PlainAnswer(200, msgspec.json.encode(receipt), self._clock.now())

    def _refused(self, error: Exception, head: Head, source: Source | None) -> PlainAnswer:
        """Return the answer to an error. The log of a bug has its traceback."""
        if isinstance(error, RejectedWebhook):
            allow = (("Allow", "POST"),) if error.status == 405 else ()
            # The rest of a body that is on its way would read as the next request.
            return self._answer(error.status, error.code, error.detail, allow, closes=error.status in (400, 408, 413))
        if isinstance(error, StoreError):
            # The cause is on /-/ready. Neither the sender nor the audit log is told a path or a text of SQLite.
            try:
                self._count(head, source.name if source is not None else "", error.code, "nothing could be stored")
            except Exception:
                self._say("exception", "ingress.bug")
            return self._answer(503, error.code, _LATER, _RETRY_AFTER)
        self._say("exception", "ingress.bug", exc_info=error)
        return self._answer(503, "store_unavailable", "try again", _RETRY_AFTER)

    def _answer(
        self, status: int, code: str, detail: str, headers: tuple[tuple[str, str], ...] = (), *, closes: bool = False
    ) -> PlainAnswer:
        return PlainAnswer(status, msgspec.json.encode({"error": code, "detail": detail}), self._clock.now(), headers, closes)

    def _show(self, head: Head, source: Source | None, body: bytes | None, answer: PlainAnswer) -> None:
        """Show a request to the people who watch. A bug in that changes no answer."""
        try:
            self._onlookers.saw(head, source.name if source is not None else None, body, answer)
        except Exception as bug:
            self._say("exception", "ingress.bug", exc_info=bug)

    def _too_large(self, head: Head, source: Source) -> RejectedWebhook:
        return self._rejected(head, source.name, 413, "body_too_large", f"the body has more than {int(self._max_body)} bytes")

    def _rejected(self, head: Head, source: str, status: int, code: str, detail: str) -> RejectedWebhook:
        self._count(head, source, code, detail)
        return RejectedWebhook(status, code, detail)

    def _count(self, head: Head, source: str, code: str, detail: str, first: str | None = None) -> None:
        sender_id = claimed_id(head.raw_headers)
        self._rejections.add(source, code, detail, first, sender_id=sender_id, address=self._access.address(head))
        # Attempts of strangers are no sign of trouble: only what may be the sender's counts. Intake counts bad signatures.
        if code not in _SIGNATURE and (sender_id is not None or head.fields.get(b"user-agent", b"").startswith(_SENDER)):
            self._watch.refused(source, code)
