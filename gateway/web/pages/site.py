"""Answers requests to pages: finds the page, asks its view, and draws the answer as HTML or as JSON. Knows no page itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from gateway.core.errors import StoreError
from gateway.web.pages.asking import Asked, Control, Elsewhere, Mistake, NotThere, language_of, parameters
from gateway.web.pages.catalogue import Locale
from gateway.web.pages.drawing import Drawing
from gateway.web.pages.hyperlinks import TWIN, url
from gateway.web.pages.live_streams import LIVE_PATH, LiveStreams
from gateway.web.pages.page import Page, page_path
from gateway.web.pages.page_files import PageFiles
from gateway.web.pages.page_headers import PAGE_HEADERS
from gateway.web.pages.page_table import PAGES, page_at
from gateway.web.pages.visitor import Visitor

_HTML = "text/html; charset=utf-8"


class PageProblem(Struct, frozen=True):
    """The reason why a page shows something else than was asked for."""

    kind: str
    """The key of its texts, and the word of the answer in JSON."""
    status: int
    detail: str = ""
    """The exact reason, in English; "" if the texts of the kind say everything."""


class Pages:
    """The pages of the admin listener."""

    def __init__(self, control: Control, *, live: LiveStreams, trouble: Callable[[], str | None]) -> None:
        """
        Args:
            trouble: returns why the store fails; None while it does not.
        """
        self._control = control
        self._live = live
        self._trouble = trouble
        self._files = PageFiles()
        self._drawings: dict[tuple[Locale, bool], Drawing] = {}

    async def handle(self, request: web.BaseRequest, visitor: Visitor) -> web.StreamResponse | None:
        """Answer a request; None if no page has its path, and it does not come from a browser that wants to show one."""
        if (file := self._files.answer(request)) is not None:
            return file
        path, is_twin = page_path(request.rel_url.raw_path)
        language, chosen = language_of(request)
        asked = Asked(path=path, visitor=visitor, language=language, chosen=chosen, now=self._control.clock.now())
        if path == LIVE_PATH and not is_twin:
            return self._only_looked_at(request) or await self._live.answer(request)
        found = page_at(path)
        if found is None:
            if "text/html" in request.headers.get("Accept", ""):
                return self._problem(None, asked, PageProblem("missing", 404), is_twin=False)
            return None
        page, names = found
        asked = msgspec.structs.replace(asked, names=names)
        return self._only_looked_at(request) or await self._answer(request, page, asked, is_twin=is_twin)

    def _only_looked_at(self, request: web.BaseRequest) -> web.Response | None:
        """Return the answer to a method that would change something; None for one that does not."""
        if request.method in ("GET", "HEAD"):
            return None
        body = {"error": "method_not_allowed", "detail": "GET"}
        return _json(405, body, {"Allow": "GET, HEAD"})

    async def _answer(self, request: web.BaseRequest, page: Page, asked: Asked, *, is_twin: bool) -> web.Response:
        if not asked.visitor.may(page.role):
            return self._problem(page, asked, PageProblem("not_allowed", 403, page.role.word), is_twin=is_twin)
        try:
            asked = msgspec.structs.replace(asked, query=parameters(request, page.query))
            data = await page.view(self._control, asked)
        except Mistake as error:
            return self._problem(page, asked, PageProblem("mistake", 400, str(error)), is_twin=is_twin)
        except NotThere as error:
            return self._problem(page, asked, PageProblem("not_there", 404, error.name), is_twin=is_twin)
        except StoreError as error:
            return self._problem(page, asked, PageProblem("store_failing", 503, str(error)), is_twin=is_twin)
        if isinstance(data, Elsewhere):
            kept = {"lang": asked.language} if asked.chosen else {}
            there = url(f"{data.path}{TWIN if is_twin else ''}", {**data.query, **kept}) + (f"#{data.row}" if data.row else "")
            return web.Response(status=303, headers={**PAGE_HEADERS, "Location": there})
        if is_twin:
            return _json(200, data)
        return self._drawn(200, page.template, page, asked, data=data)

    def _problem(self, page: Page | None, asked: Asked, problem: PageProblem, *, is_twin: bool) -> web.Response:
        if is_twin:
            return _json(problem.status, {"error": problem.kind, "detail": problem.detail})
        return self._drawn(problem.status, "problem.html", page, asked, problem=problem)

    def _drawn(self, status: int, template: str, page: Page | None, asked: Asked, **values: Any) -> web.Response:
        key = (asked.language, asked.chosen)
        if (drawing := self._drawings.get(key)) is None:
            drawing = self._drawings[key] = Drawing(*key, self._files, frozenset(one.name for one in PAGES))
        trouble = self._trouble() if status < 500 else None  # a problem with the store says so itself
        navigation = [one for one in PAGES if one.in_navigation and asked.visitor.may(one.role)]
        common = {"page": page, "asked": asked, "visitor": asked.visitor, "navigation": navigation, "trouble": trouble}
        text = drawing.draw(template, asked.now, common | values)
        headers = {**PAGE_HEADERS, "Content-Type": _HTML, "Content-Language": asked.language, "Vary": "Accept-Language"}
        return web.Response(status=status, body=text.encode("utf-8", "replace"), headers=headers)


def _json(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    encoded = msgspec.json.encode(body)
    return web.Response(
        status=status, body=encoded, headers={**PAGE_HEADERS, "Content-Type": "application/json", **(headers or {})}
    )
