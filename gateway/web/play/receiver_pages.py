"""The page of `gateway play`, below a path of its own: the same pages as on the gateway, with the choices of a receiver.

It answers this host alone. A tunnel that leads strangers to the receiver leads them to no page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from msgspec import Struct, structs

from gateway.core.caught_facts import CaughtFacts, ReceiverLedger
from gateway.core.caught_requests import CaughtRequest
from gateway.core.users import ADMIN, Role, Visitor
from gateway.host.clock import Clock
from gateway.web.admin import inputs
from gateway.web.door.answer_headers import add_headers
from gateway.web.door.same_origin import strange_host, strange_origin, unsafe
from gateway.web.pages.asking import Asked, Mistake, NotThere, language_of, parameters
from gateway.web.pages.catalogue import Locale
from gateway.web.pages.drawing import Drawing
from gateway.web.pages.hyperlinks import TWIN, url
from gateway.web.pages.live_streams import LiveStreams
from gateway.web.pages.page_files import PageFiles
from gateway.web.pages.views.play_page import caught, play
from gateway.web.play.answering import PAGE, AnswerChoice, answering_of
from gateway.web.play.pasted_secrets import PastedSecrets
from gateway.web.play.shown_requests import ShownRequests
from gateway.web.responses import json_response

LIVE = f"{PAGE}/live"
_SECRET = f"{PAGE}/secret"
_ANSWER = f"{PAGE}/answer"
_HTML = "text/html; charset=utf-8"
_OF_PROXIES = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "CF-Connecting-IP", "Via")
"""Headers that proxies and tunnels add (RFC 7239, RFC 9110 section 7.6.3, and what nginx and Cloudflare document)."""


class ReceiverPage(Struct, frozen=True, kw_only=True):
    """The page as its frame sees it."""

    name: str = "play"
    live: bool = True
    live_path: str = LIVE


class ReceiverFacts(Struct, frozen=True, kw_only=True):
    """The facts about a receiver that its page tells."""

    address: str
    forward: str | None
    try_it: str
    """The command that sends a request."""


class ReceiverPages:
    """Answers requests at `PAGE` and below."""

    def __init__(
        self,
        shown: ShownRequests,
        choice: AnswerChoice,
        *,
        live: LiveStreams,
        ledger: ReceiverLedger,
        facts: Callable[[], ReceiverFacts],
        replay: Callable[[int], None],
        clock: Clock,
    ) -> None:
        """
        Args:
            ledger: has the facts of the events that came.
            facts: returns the facts about the receiver, once it listens.
            replay: forwards a request again, later.
        """
        self.shown = shown
        self._choice = choice
        self._live = live
        self._ledger = ledger
        self._facts = facts
        self._replay = replay
        self._clock = clock
        self._files = PageFiles(f"{PAGE}/assets/")
        self._pasted = PastedSecrets(shown, path=_SECRET, page=PAGE)
        self._drawings: dict[tuple[Locale, bool], Drawing] = {}

    @property
    def play(self) -> ReceiverPages:
        """Itself, as the views of the gateway ask it."""
        return self

    def look(self) -> None:
        """Do nothing: the terminal always watches."""

    async def facts(self, request: CaughtRequest) -> CaughtFacts | None:
        """Return the facts of its event, by the requests that came here; None if it was the first of its service request."""
        facts = self._ledger.facts(request.number)
        return None if facts is None else CaughtFacts(facts, "requests_here")

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        answer = await self._answer(request)
        add_headers(answer, request, "http")
        return answer

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if (why := _refused(request)) is not None:
            return json_response(403, {"error": "forbidden", "detail": why})
        if (file := self._files.answer(request)) is not None:
            return file
        if request.path == LIVE:
            return await self._live.answer(request)
        if (answer := await self._pasted.handle(request)) is not None:
            return answer
        if request.method == "POST":
            return await self._act(request)
        if request.method not in ("GET", "HEAD"):
            return json_response(405, {"error": "method_not_allowed", "detail": "GET"}, {"Allow": "GET, HEAD"})
        return await self._page(request)

    async def _act(self, request: web.BaseRequest) -> web.Response:
        try:
            if request.path == _ANSWER:
                given = await inputs.form(request, "status", "retry_after", "lang")
                chosen = answering_of(given.get("status"), given.get("retry_after"))
                if chosen is None:
                    return _to(PAGE, {"wrong": "answer", **_language(given)})
                self._choice.answering = chosen
                return _to(PAGE, _language(given))
            number = request.path.removeprefix(f"{PAGE}/").removesuffix("/replay")
            if request.path.endswith("/replay") and number.isascii() and number.isdigit() and len(number) <= 18:
                given = await inputs.form(request, "lang")
                self._replay(int(number))
                return _to(f"{PAGE}/{number}", _language(given))
        except inputs.MISTAKES as error:
            return inputs.refusal(error)
        return json_response(404, {"error": "not_found", "detail": "there is no such page"})

    async def _page(self, request: web.BaseRequest) -> web.Response:
        path = request.rel_url.raw_path
        language, chosen = language_of(request)
        asked = Asked(
            path=path.removesuffix(TWIN),
            visitor=Visitor(ADMIN, Role.OPERATE, "host"),
            language=language,
            chosen=chosen,
            now=self._clock.now(),
            as_data=path.endswith(TWIN),
        )
        names = asked.path.removeprefix(PAGE).strip("/")
        try:
            asked = structs.replace(asked, names=(names,), query=parameters(request, () if names else ("before", "wrong")))
            data = await (caught(self, asked) if names else play(self, asked))
        except Mistake as error:
            return json_response(400, {"error": "bad_request", "detail": str(error)})
        except NotThere as error:
            if path.endswith(TWIN):
                return json_response(404, {"error": "not_there", "detail": error.name})
            return self._drawn(404, "gone.html", asked, {})
        if path.endswith(TWIN):
            return json_response(200, data)
        return self._drawn(200, "received_one.html" if names else "received.html", asked, {"data": data})

    def _drawn(self, status: int, template: str, asked: Asked, values: dict[str, Any]) -> web.Response:
        key = (asked.language, asked.chosen)
        if (drawing := self._drawings.get(key)) is None:
            drawing = self._drawings[key] = Drawing(*key, self._files, frozenset())
        common: dict[str, Any] = {"frame": "receiver_layout.html", "place": PAGE, "page": ReceiverPage(), "asked": asked}
        common |= {"receiver": self._facts(), "answering": self._choice.answering}
        text = drawing.draw(template, asked.now, common | values)
        headers = {"Content-Type": _HTML, "Content-Language": asked.language, "Vary": "Accept-Language"}
        return web.Response(status=status, body=text.encode("utf-8", "replace"), headers=headers)


def _refused(request: web.BaseRequest) -> str | None:
    """Return why a request may not see the page, or change what it shows; None if it may."""
    if any(name in request.headers for name in _OF_PROXIES):
        return "the page is for this host alone, and this request came through a proxy or a tunnel"
    return strange_host(request, ()) or strange_origin(request, "http", ()) or unsafe(request, "http")


def _language(given: dict[str, str]) -> dict[str, str]:
    return {"lang": given["lang"]} if given.get("lang") in ("en", "ja") else {}


def _to(path: str, query: dict[str, str]) -> web.Response:
    return web.Response(status=303, headers={"Location": url(path, query)})
