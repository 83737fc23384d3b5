"""`POST {source.path}`: the answers of docs/reference.md, "Receiving webhooks", checked in its order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec
from aiohttp import HttpVersion11, web

from gateway import NO_SOURCE
from gateway.core.errors import RejectedWebhook, StoreError
from gateway.core.signature import claimed_id
from gateway.host.clock import Clock
from gateway.ingest.receive import Intake, Source
from gateway.ingest.rejections import Rejections
from gateway.ingest.source_watch import SourceWatch
from gateway.observability.logs import Log, Sparing
from gateway.web.responses import Ack, json_response
from gateway.web.server.client_connection import ClientConnection
from gateway.web.webhooks.access import Access

_BODY_SECONDS = 5.0
_SIGNATURE = ("bad_signature", "stale_timestamp")
_SENDER = "Svix-Webhooks"
"""How the sender's User-Agent begins (Svix documentation)."""
_RETRY_AFTER = {"Retry-After": "5"}


class Ingress:
    """Answers the webhook listener."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        intake: Intake,
        rejections: Rejections,
        *,
        watch: SourceWatch,
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
        """Answer one request. Never with 500: an unexpected error is a 503, so that the sender keeps the message."""
        started = self._clock.monotonic()
        try:
            source = self._source(request)
            body = self._body_at_once(request, source)
            if body is None:
                body = await self._slow_body(request, source)
            content_type = request.headers.get("Content-Type")
            if content_type is not None and not content_type.isascii():
                # aiohttp passes bytes that are not UTF-8 on as surrogates, which nothing else takes.
                content_type = content_type.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            try:
                receipt = await self._intake.receive(source, request.raw_headers, body, content_type, started)
            except RejectedWebhook as rejected:
                self._count(request, source.name, rejected.code, rejected.detail)
                raise
        except RejectedWebhook as rejected:
            return _refusal(rejected)
        except StoreError as error:
            # The cause is on /-/ready. Neither the sender nor the audit log is told a path or a text of SQLite.
            self._count(request, source.name, error.code, "nothing could be stored")
            return json_response(503, {"error": error.code, "detail": "nothing can be stored now, try again"}, _RETRY_AFTER)
        except ConnectionError:
            raise
        except Exception:
            self._say("exception", "ingress.bug")
            return json_response(503, {"error": "store_unavailable", "detail": "try again"}, _RETRY_AFTER)
        if request.version == HttpVersion11 and request.keep_alive:
            return Ack(msgspec.json.encode(receipt), self._clock.now())
        return json_response(200, receipt)

    def _source(self, request: web.BaseRequest) -> Source:
        source = self._sources.get(request.path)
        if source is None:
            raise self._rejected(request, "", 404, "not_found", NO_SOURCE)
        if (stranger := self._access.stranger(source.name, request)) is not None:
            self._count(request, source.name, "forbidden", "the address is not in allow_from", stranger.audited)
            raise RejectedWebhook(403, "forbidden", stranger.told)
        if request.method != "POST":
            raise self._rejected(request, source.name, 405, "method_not_allowed", "webhooks are sent by POST")
        return source

    def _body_at_once(self, request: web.BaseRequest, source: Source) -> bytes | None:
        """Return the body if it came in one packet with its headers, as nearly all do; else None."""
        if "Content-Encoding" in request.headers:
            raise self._rejected(
                request, source.name, 415, "unsupported_encoding", "send the body as it was signed, without Content-Encoding"
            )
        content = request.content
        if not content.is_eof():
            if request.content_length is not None and request.content_length > self._max_body:
                raise self._too_large(request, source)
            return None
        body = content.read_nowait()
        if len(body) > self._max_body:
            raise self._too_large(request, source)
        return body

    async def _slow_body(self, request: web.BaseRequest, source: Source) -> bytes:
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = request.content
        read = bytearray()
        protocol, client = request.protocol, self._access.client_of(request)
        if client is not None and isinstance(protocol, ClientConnection):
            protocol.count_for(client)  # slow bodies behind a proxy count for the client
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                while not content.at_eof():
                    read += await content.readany()
                    if len(read) > self._max_body:
                        raise self._too_large(request, source)
        except TimeoutError:
            raise self._rejected(
                request, source.name, 408, "timeout", f"the body did not come within {_BODY_SECONDS:g} s"
            ) from None
        except (web.RequestPayloadError, ValueError):
            # A broken transfer is not a webhook; the closed list has no reason for it, so it stays out of the audit log.
            raise RejectedWebhook(400, "bad_request", "the body is not well-formed HTTP") from None
        finally:
            if client is not None and isinstance(protocol, ClientConnection):
                protocol.count_for(None)
        return bytes(read)

    def _too_large(self, request: web.BaseRequest, source: Source) -> RejectedWebhook:
        return self._rejected(request, source.name, 413, "body_too_large", f"the body has more than {int(self._max_body)} bytes")

    def _rejected(self, request: web.BaseRequest, source: str, status: int, code: str, detail: str) -> RejectedWebhook:
        self._count(request, source, code, detail)
        return RejectedWebhook(status, code, detail)

    def _count(self, request: web.BaseRequest, source: str, code: str, detail: str, first: str | None = None) -> None:
        sender_id = claimed_id(request.raw_headers)
        self._rejections.add(source, code, detail, first, sender_id=sender_id, address=self._access.address(request))
        # Attempts of strangers are no sign of trouble: only what may be the sender's counts. Intake counts bad signatures.
        if code not in _SIGNATURE and (sender_id is not None or request.headers.get("User-Agent", "").startswith(_SENDER)):
            self._watch.refused(source, code)


def _refusal(rejected: RejectedWebhook) -> web.Response:
    headers = {"Allow": "POST"} if rejected.status == 405 else None
    response = json_response(rejected.status, {"error": rejected.code, "detail": rejected.detail}, headers)
    if rejected.status in (400, 408, 413):
        response.force_close()  # the rest of the body is still on its way, and would read as the next request
    return response
