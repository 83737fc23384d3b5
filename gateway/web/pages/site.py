"""Answers requests to pages: finds the page, asks its view, and draws the answer as HTML or as JSON. Knows no page itself."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from gateway import SERVER
from gateway.core.errors import StoreError
from gateway.core.users import Role, Visitor
from gateway.web.door.login_page import LoginView
from gateway.web.pages.asking import Asked, Control, Elsewhere, Mistake, NotThere, language_of, parameters
from gateway.web.pages.catalogue import Locale
from gateway.web.pages.drawing import Drawing
from gateway.web.pages.hyperlinks import TWIN, url
from gateway.web.pages.live_streams import LiveStreams
from gateway.web.pages.page import Page, page_path
from gateway.web.pages.page_files import PageFiles
from gateway.web.pages.page_table import PAGES, page_at
from gateway.web.responses import json_response

_HEADERS = {"Server": SERVER, "Content-Type": "text/html; charset=utf-8", "Vary": "Accept-Language"}


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

    @property
    def open_paths(self) -> Collection[str]:
        """The paths of what every page consists of, the page to sign in too."""
        return self._files.paths

    async def handle(self, request: web.BaseRequest, visitor: Visitor) -> web.StreamResponse | None:
        """Answer a request; None if no page has its path, and it does not come from a browser that wants to show one."""
        asked, is_twin = self._asked(request, visitor)
        if asked.path in self._live.paths and not is_twin:
            return _only_looked_at(request) or await self._live.answer(request)
        found = page_at(asked.path)
        if found is None:
            wants_page = "text/html" in request.headers.get("Accept", "")
            return self._problem(None, asked, PageProblem("missing", 404), is_twin=False) if wants_page else None
        page, names = found
        asked = msgspec.structs.replace(asked, names=names)
        return _only_looked_at(request) or await self._answer(request, page, asked, is_twin=is_twin)

    def file(self, request: web.BaseRequest) -> web.Response | None:
        """Answer a request for a style sheet or a script; None if it is for something else."""
        return self._files.answer(request)

    def not_allowed(self, request: web.BaseRequest, visitor: Visitor, role: Role) -> web.Response:
        """Answer a browser whose user lacks the role that a page needs; 404 if there is no such page."""
        asked, _ = self._asked(request, visitor)
        found = page_at(asked.path)
        if found is None:
            return self._problem(None, asked, PageProblem("missing", 404), is_twin=False)
        return self._problem(found[0], asked, PageProblem("not_allowed", 403, role), is_twin=False)

    def login(self, view: LoginView) -> str:
        """Return the page to sign in."""
        return self._drawing(view.language, chosen=False).draw("login.html", self._control.clock.now(), {"view": view})

    def _asked(self, request: web.BaseRequest, visitor: Visitor) -> tuple[Asked, bool]:
        """Return what a request asks for, and whether it asks for the twin of a page."""
        path, is_twin = page_path(request.rel_url.raw_path)
        language, chosen = language_of(request)
        now = self._control.clock.now()
        return Asked(path=path, visitor=visitor, language=language, chosen=chosen, now=now), is_twin

    async def _answer(self, request: web.BaseRequest, page: Page, asked: Asked, *, is_twin: bool) -> web.Response:
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
            return _redirected(data, asked, is_twin=is_twin)
        if is_twin:
            return json_response(200, data)
        return self._drawn(200, page.template, page, asked, data=data)

    def _problem(self, page: Page | None, asked: Asked, problem: PageProblem, *, is_twin: bool) -> web.Response:
        if is_twin:
            return json_response(problem.status, {"error": problem.kind, "detail": problem.detail})
        return self._drawn(problem.status, "problem.html", page, asked, problem=problem)

    def _drawn(self, status: int, template: str, page: Page | None, asked: Asked, **values: Any) -> web.Response:
        trouble = self._trouble() if status < 500 else None  # a problem with the store says so itself
        navigation = [one for one in PAGES if one.in_navigation and asked.visitor.role.includes(one.role)]
        common: dict[str, Any] = {"frame": "layout.html", "place": "/play"}
        common |= {"page": page, "asked": asked, "visitor": asked.visitor, "navigation": navigation, "trouble": trouble}
        text = self._drawing(asked.language, chosen=asked.chosen).draw(template, asked.now, common | values)
        headers = {**_HEADERS, "Content-Language": asked.language}
        return web.Response(status=status, body=text.encode("utf-8", "replace"), headers=headers)

    def _drawing(self, language: Locale, *, chosen: bool) -> Drawing:
        if (drawing := self._drawings.get((language, chosen))) is None:
            names = frozenset(page.name for page in PAGES)
            drawing = self._drawings[language, chosen] = Drawing(language, chosen, self._files, names)
        return drawing


def _only_looked_at(request: web.BaseRequest) -> web.Response | None:
    """Return the answer to a method that would change something; None for one that does not."""
    if request.method in ("GET", "HEAD"):
        return None
    return json_response(405, {"error": "method_not_allowed", "detail": "GET"}, {"Allow": "GET, HEAD"})


def _redirected(data: Elsewhere, asked: Asked, *, is_twin: bool) -> web.Response:
    kept = {"lang": asked.language} if asked.chosen else {}
    there = url(f"{data.path}{TWIN if is_twin else ''}", {**data.query, **kept}) + (f"#{data.row}" if data.row else "")
    return web.Response(status=303, headers={"Server": SERVER, "Location": there})
