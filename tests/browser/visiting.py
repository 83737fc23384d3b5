"""A person who looks at pages: how they look, and everything that went wrong while they did."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple, Self
from urllib.parse import urljoin, urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request, Response

Language = Literal["en", "ja"]
Theme = Literal["light", "dark"]
LANGUAGES: tuple[Language, ...] = ("en", "ja")
THEMES: tuple[Theme, ...] = ("light", "dark")
WIDE, NARROW = 1200, 390
"""Pixels: the window of a person at a desk, and the screen of a phone."""
_HEIGHTS = {WIDE: 900, NARROW: 844}
_LOCALES = {"en": "en-GB", "ja": "ja-JP"}
_SECONDS = 30
_CANARY = """window.canary = what => console.error("CANARY: a payload ran: " + what);"""


class Look(NamedTuple):
    """The way in which somebody looks at pages."""

    language: Language = "en"
    theme: Theme = "light"
    width: int = WIDE
    scripts: bool = True

    def __str__(self) -> str:
        return f"{self.language}, {self.theme}, {self.width} px, {'JavaScript' if self.scripts else 'no JavaScript'}"


class Visit:
    """One page of a browser, in a context of its own: no cookie and no cache of another visit.

    What goes wrong is kept in `troubles`: console messages of every level, errors of scripts, dialogs, requests that failed, and
    requests that left the gateway. The fixture `visiting` fails the test if any is left at its end.
    """

    def __init__(self, context: BrowserContext, page: Page, origin: str, look: Look) -> None:
        """
        Args:
            origin: scheme, host and port of the gateway; requests may go there and nowhere else.
        """
        self.context = context
        self.page = page
        self.origin = origin
        self.look = look
        self.troubles: list[str] = []
        self.requests: list[str] = []
        """The URLs that were asked for, in their order."""
        self._expected: set[tuple[str, int]] = set()
        """URLs, each with a status that a test expects there."""
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.troubles.append(f"script: {error.error}"))
        context.on("dialog", self._on_dialog)
        context.on("request", self._on_request)
        context.on("requestfailed", self._on_failure)

    @classmethod
    async def begin(cls, browser: Browser, origin: str, look: Look, *, token: str | None = None) -> Self:
        """Open an empty page. With a token, every request carries it, as that of a proxy that logs people in."""
        context = await browser.new_context(
            locale=_LOCALES[look.language],
            timezone_id="Asia/Tokyo",
            color_scheme=look.theme,
            viewport={"width": look.width, "height": _HEIGHTS.get(look.width, 900)},
            java_script_enabled=look.scripts,
            extra_http_headers={} if token is None else {"Authorization": f"Bearer {token}"},
            reduced_motion="no-preference",
            service_workers="block",
        )
        context.set_default_timeout(_SECONDS * 1000)
        await context.add_init_script(_CANARY)
        return cls(context, await context.new_page(), origin, look)

    async def to(self, path: str, *, status: int | Collection[int] = 200) -> Response:
        """Go to a page of the gateway, and wait until it is loaded. Fails unless it is answered with one of these statuses."""
        url = urljoin(self.origin, path)
        statuses = {status} if isinstance(status, int) else set(status)
        for one in statuses:
            self.expect(url, one)
        response = await self.page.goto(url, wait_until="load")
        assert response is not None, f"{path}: there is no answer"
        assert response.status in statuses, f"{path}: {response.status} in place of {sorted(statuses)}"
        await self.page.evaluate("0")  # what the page has caused until now is told before this is answered
        return response

    def expect(self, url: str, status: int) -> None:
        """Allow this answer: the browser writes each one of 400 and above to the console."""
        self._expected.add((url, status))

    async def look_again(self, *, theme: Theme | None = None, width: int | None = None) -> None:
        """Show the same page in another theme or width, without loading it again."""
        if theme is not None:
            await self.page.emulate_media(color_scheme=theme)
        if width is not None:
            await self.page.set_viewport_size({"width": width, "height": _HEIGHTS.get(width, 900)})
        self.look = Look(self.look.language, theme or self.look.theme, width or self.look.width, self.look.scripts)

    def take_troubles(self) -> list[str]:
        """Return what went wrong up to now, and forget it: the test expected that."""
        taken, self.troubles[:] = list(self.troubles), []
        return taken

    async def end(self) -> None:
        await self.context.close()

    def _on_console(self, message: ConsoleMessage) -> None:
        said, url = message.text, message.location["url"]
        if not any(url == where and f"responded with a status of {status} " in said for where, status in self._expected):
            self.troubles.append(f"console: {message.type}: {said} ({url})")

    async def _on_dialog(self, dialog: Dialog) -> None:
        self.troubles.append(f"dialog: {dialog.type}: {dialog.message}")
        await dialog.dismiss()

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)
        if not _is_within(request.url, self.origin):
            self.troubles.append(f"left the gateway: {request.method} {request.url}")
        elif urlsplit(request.url).path.startswith("/canary"):
            self.troubles.append(f"CANARY: a payload was asked for: {request.method} {request.url}")

    def _on_failure(self, request: Request) -> None:
        # A stream ends with its page, and what is downloaded is no page: Chromium tells both as aborted.
        if request.failure != "net::ERR_ABORTED":
            self.troubles.append(f"request failed: {request.method} {request.url}: {request.failure}")


class Visiting:
    """Begins visits with one browser, and ends them all."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.visits: list[Visit] = []

    async def begin(self, origin: str, look: Look = Look(), *, token: str | None = None) -> Visit:  # noqa: B008 (frozen)
        """Open an empty page. Its origin, such as `http://127.0.0.1:8081`, is where its requests may go."""
        visit = await Visit.begin(self.browser, origin, look, token=token)
        self.visits.append(visit)
        return visit

    async def end(self) -> list[str]:
        """End all visits, and return what went wrong on any of them."""
        for visit in self.visits:
            await visit.end()
        return [f"{visit.look}: {trouble}" for visit in self.visits for trouble in visit.troubles]


def _is_within(url: str, origin: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob", "about") or f"{parts.scheme}://{parts.netloc}" == origin
