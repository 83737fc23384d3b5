"""Answers requests to pages: finds the page, asks its view, and draws the answer as HTML or as JSON. Knows no page itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from gateway.core.errors import StoreError
from gateway.core.users import Role, Visitor
from gateway.web.admin import inputs
from gateway.web.door.login_view import LoginView
from gateway.web.pages.asking import (
    LANGUAGE,
    Asked,
    CannotAnswer,
    Control,
    Download,
    Elsewhere,
    EvidenceDownload,
    Mistake,
    NotAllowed,
    NotThere,
    language_of,
    parameters,
)
from gateway.web.pages.catalogue import LOCALES
from gateway.web.pages.drawing import Drawing
from gateway.web.pages.evidence_sending import send_evidence
from gateway.web.pages.hyperlinks import TWIN, url
from gateway.web.pages.live_streams import LiveStreams
from gateway.web.pages.page import Page, View, page_path
from gateway.web.pages.page_files import PageFiles
from gateway.web.pages.page_headers import DOWNLOAD_HEADERS, PAGE_HEADERS
from gateway.web.pages.page_table import PAGES, page_at

_HTML = "text/html; charset=utf-8"
_NOBODY = Visitor("", Role.SUPPORT, "host")
"""The visitor of a page on which nobody is known yet."""


class PageProblem(Struct, frozen=True):
    """The reason why a page shows something else than was asked for."""

    kind: str
    """The key of its texts, and the word of the answer in JSON."""
    status: int
    detail: str = ""
    """The exact reason, in English; "" if the texts of the kind say everything."""


class Pages:
    """The pages of the admin listener."""

    def __init__(self, control: Control, *, live: LiveStreams, trouble: Callable[[], str | None], stop: asyncio.Event) -> None:
        """
        Args:
            trouble: returns why the store fails; None while it does not.
            stop: set when the gateway stops; files that are being sent end then.
        """
        self._control = control
        self._live = live
        self._trouble = trouble
        self._stop = stop
        self._files = PageFiles()
        # All templates are read now, so that an upgrade of the package does not change those of a running gateway.
        names = frozenset(page.name for page in PAGES)
        self._drawings = {
            (language, chosen): Drawing(language, chosen, self._files, names) for language in LOCALES for chosen in (False, True)
        }

    def file(self, request: web.BaseRequest) -> web.Response | None:
        """Answer a request for a file that pages consist of; None if the path is that of no file."""
        return self._files.answer(request)

    def login(self, request: web.BaseRequest, status: int, view: LoginView) -> web.Response:
        """Draw the page on which people sign in. Nobody is known there."""
        language, chosen = language_of(request)
        asked = Asked(path=request.path, visitor=_NOBODY, language=language, chosen=chosen, now=self._control.clock.now())
        kept = {LANGUAGE: language} if chosen else {}
        values = {
            "view": view,
            "here": url(request.path, kept),
            "in_language": {one: url(request.path, {"next": view.next, LANGUAGE: one}) for one in LOCALES},
        }
        return self._drawn(status, "login.html", None, asked, **values)

    def not_allowed(self, request: web.BaseRequest, visitor: Visitor, role: Role) -> web.Response:
        """Draw the page that says which role is needed for what was asked."""
        language, chosen = language_of(request)
        path, _ = page_path(request.rel_url.raw_path)
        asked = Asked(path=path, visitor=visitor, language=language, chosen=chosen, now=self._control.clock.now())
        found = page_at(path)
        return self._problem(found and found[0], asked, PageProblem("not_allowed", 403, role.value), is_twin=False)

    async def handle(self, request: web.BaseRequest, visitor: Visitor) -> web.StreamResponse | None:
        """Answer a request; None if no page has its path, and it does not come from a browser that wants to show one."""
        path, is_twin = page_path(request.rel_url.raw_path)
        language, chosen = language_of(request)
        asked = Asked(path=path, visitor=visitor, language=language, chosen=chosen, now=self._control.clock.now())
        if path in self._live.paths and not is_twin:
            return self._only_looked_at(request) or await self._live.answer(request)
        found = page_at(path)
        if found is None:
            if "text/html" in request.headers.get("Accept", ""):
                return self._problem(None, asked, PageProblem("missing", 404), is_twin=False)
            return None
        page, names = found
        asked = msgspec.structs.replace(asked, names=names, as_data=is_twin)
        if request.method == "POST" and page.post is not None and not is_twin:
            return await self._posted(request, page, page.post, asked)
        return self._only_looked_at(request) or await self._looked_at(request, page, asked, is_twin=is_twin)

    def _only_looked_at(self, request: web.BaseRequest) -> web.Response | None:
        """Return the answer to a method that would change something; None for one that does not."""
        if request.method in ("GET", "HEAD"):
            return None
        body = {"error": "method_not_allowed", "detail": "GET"}
        return _json(405, body, {"Allow": "GET, HEAD"})

    async def _looked_at(self, request: web.BaseRequest, page: Page, asked: Asked, *, is_twin: bool) -> web.StreamResponse:
        async def ask() -> Asked:
            return msgspec.structs.replace(asked, query=parameters(request, page.query), token=self._token(asked))

        return await self._answer(request, page, page.view, page.role, ask, asked, is_twin=is_twin)

    async def _posted(self, request: web.BaseRequest, page: Page, post: View, asked: Asked) -> web.StreamResponse:
        async def ask() -> Asked:
            parameters(request, ())
            try:
                form = await inputs.form(request, *page.fields)
            except inputs.MISTAKES as error:
                raise Mistake(str(error)) from None
            return msgspec.structs.replace(asked, form=form, token=self._token(asked))

        return await self._answer(request, page, post, page.post_role, ask, asked, is_twin=False)

    def _token(self, asked: Asked) -> str:
        return self._control.clock.new_key()[:32] if asked.visitor.may(Role.OPERATE) else ""

    async def _answer(
        self,
        request: web.BaseRequest,
        page: Page,
        view: View,
        role: Role,
        ask: Callable[[], Awaitable[Asked]],
        asked: Asked,
        *,
        is_twin: bool,
    ) -> web.StreamResponse:
        if not asked.visitor.may(role):
            return self._problem(page, asked, PageProblem("not_allowed", 403, role.value), is_twin=is_twin)
        try:
            asked = await ask()
            data = await view(self._control, asked)
        except Mistake as error:
            return self._problem(page, asked, PageProblem("mistake", 400, str(error)), is_twin=is_twin)
        except NotThere as error:
            return self._problem(page, asked, PageProblem("not_there", 404, error.name), is_twin=is_twin)
        except NotAllowed as error:
            return self._problem(page, asked, PageProblem("not_allowed", 403, error.role.value), is_twin=is_twin)
        except CannotAnswer as error:
            return self._problem(page, asked, PageProblem(error.kind, error.status, error.detail), is_twin=is_twin)
        except StoreError as error:
            return self._problem(page, asked, PageProblem("store_failing", 503, str(error)), is_twin=is_twin)
        if isinstance(data, Elsewhere):
            kept = {"lang": asked.language} if asked.chosen else {}
            there = url(f"{data.path}{TWIN if is_twin else ''}", {**data.query, **kept}) + (f"#{data.row}" if data.row else "")
            return web.Response(status=303, headers={**PAGE_HEADERS, "Location": there})
        if isinstance(data, Download):
            named = {"Content-Disposition": f'attachment; filename="{data.file}"'}
            return web.Response(body=data.body, headers={**DOWNLOAD_HEADERS, **named})
        if isinstance(data, EvidenceDownload):
            return await send_evidence(request, data, self._stop)
        if is_twin:
            return _json(200, data)
        return self._drawn(200, page.template, page, asked, data=data)

    def _problem(self, page: Page | None, asked: Asked, problem: PageProblem, *, is_twin: bool) -> web.Response:
        if is_twin:
            return _json(problem.status, {"error": problem.kind, "detail": problem.detail})
        return self._drawn(problem.status, "problem.html", page, asked, problem=problem)

    def _drawn(self, status: int, template: str, page: Page | None, asked: Asked, **values: Any) -> web.Response:
        drawing = self._drawings[asked.language, asked.chosen]
        trouble = self._trouble() if status < 500 else None  # a problem with the store says so itself
        navigation = [one for one in PAGES if one.in_navigation and asked.visitor.may(one.role)]
        common: dict[str, Any] = {"frame": "layout.html", "place": "/play"}
        common |= {"page": page, "asked": asked, "visitor": asked.visitor, "navigation": navigation, "trouble": trouble}
        text = drawing.draw(template, asked.now, common | values)
        headers = {**PAGE_HEADERS, "Content-Type": _HTML, "Content-Language": asked.language, "Vary": "Accept-Language"}
        return web.Response(status=status, body=text.encode("utf-8", "replace"), headers=headers)


def _json(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    encoded = msgspec.json.encode(body)
    return web.Response(
        status=status, body=encoded, headers={**PAGE_HEADERS, "Content-Type": "application/json", **(headers or {})}
    )
