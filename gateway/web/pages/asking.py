"""Reads what a request to a page asks for, strictly: the path, the parameters, who asks, and in which language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aiohttp import web
from minijinja import Markup
from msgspec import Struct

from gateway.config import Config
from gateway.control.acts import Acts
from gateway.control.browse import Browse
from gateway.control.evidence_files import EvidenceExport, EvidenceFiles
from gateway.control.status import SelfReport
from gateway.control.stories import Requests
from gateway.core.users import Role, Visitor
from gateway.host.clock import Clock
from gateway.reconcile.inquiries import Inquiries
from gateway.web.pages.catalogue import LOCALES, Locale
from gateway.web.pages.hyperlinks import TWIN, href
from gateway.web.play.play_asked import PlayAsked

LANGUAGE = "lang"
"""The parameter that every page takes."""
_LONGEST = 1000
"""Characters of a parameter."""
_MOST_LANGUAGES = 20


class Control(Struct, frozen=True):
    """The parts of the gateway that answer the questions of pages."""

    browse: Browse
    requests: Requests
    acts: Acts
    inquiries: Inquiries
    self_report: SelfReport
    config: Callable[[], Config]
    """Returns the configuration in effect."""
    play: PlayAsked
    webhook_urls: Callable[[], Sequence[str]]
    """Returns the URLs that webhooks are sent to now, one for each source."""
    evidence: EvidenceFiles
    clock: Clock


class Asked(Struct, frozen=True, kw_only=True):
    """One question to a page."""

    path: str
    """The path of the page, as the browser sent it, without the end of a twin."""
    names: tuple[str, ...] = ()
    """The texts that stand for the variable segments of the path."""
    query: Mapping[str, str] = {}
    """The parameters that were given, without the language."""
    visitor: Visitor
    language: Locale = "en"
    chosen: bool = False
    """The language stands in the URL, so links have to keep it."""
    now: float
    """Unix seconds, UTC."""
    form: Mapping[str, str] = {}
    """The fields of the form that was sent; empty if the page is only looked at."""
    as_data: bool = False
    """The twin of the page is asked for, and nothing is laid out for people."""
    token: str = ""
    """A text for the forms of this page, which no other page has: what is sent twice is done once."""

    def given(self, name: str) -> str | None:
        """Return a parameter; None if it is absent."""
        return self.query.get(name)

    def here(self, **changes: object) -> Markup:
        """Return the URL of this page, for an attribute, with some parameters changed; None removes one."""
        kept = {LANGUAGE: self.language} if self.chosen else {}
        return href(self.path, {**self.query, **kept, **changes})

    def at(self, name: str, value: object) -> Markup:
        """Return the URL of this page with one parameter changed, such as the cursor of a list; None removes it."""
        return self.here(**{name: value})

    @property
    def twin(self) -> Markup:
        """The URL of the same data as JSON."""
        return href(f"{'/overview' if self.path == '/' else self.path}{TWIN}", self.query)


class Mistake(ValueError):
    """A request that asks for something that cannot be; the text says what, in English, as an API would."""


class NotThere(Exception):
    """Nothing has the name that the path of a page gives."""

    def __init__(self, name: str) -> None:
        super().__init__(f'nothing is called "{name}"')
        self.name = name


class NotAllowed(Exception):
    """The visitor may see the page, and not this part of it."""

    def __init__(self, role: Role) -> None:
        super().__init__(f"this needs the role {role}")
        self.role = role


class CannotAnswer(Exception):
    """The request makes sense, and cannot be answered now."""

    def __init__(self, kind: str, status: int, detail: str = "") -> None:
        """
        Args:
            kind: the key of its texts, below `problem.`.
            status: the status of HTTP.
        """
        super().__init__(kind)
        self.kind = kind
        self.status = status
        self.detail = detail


class Download(Struct, frozen=True):
    """The answer of a view that the browser saves and never shows."""

    body: bytes
    file: str
    """A name of ASCII letters, digits, dots and hyphens."""


class EvidenceDownload(Struct, frozen=True):
    """The answer of a view that the browser saves while it is made. The export is closed when it has been sent, or cannot be."""

    export: EvidenceExport
    file: str
    """A name of ASCII letters, digits, dots and hyphens."""


class Elsewhere(Struct, frozen=True):
    """The answer of a view that the browser should look at another page of this gateway."""

    path: str
    query: Mapping[str, object] = {}
    row: str = ""
    """The id of the row to go to; "" for the top of the page."""


def parameters(request: web.BaseRequest, known: Sequence[str]) -> dict[str, str]:
    """Return the parameters of a page, without the language. A form sends empty ones, which count as absent.

    Raises Mistake if one is unknown, too long, or given twice.
    """
    found: dict[str, str] = {}
    for name, value in request.query.items():
        if name != LANGUAGE and name not in known:
            raise Mistake(f'there is no parameter "{name[:80]}" here')
        if name in found:
            raise Mistake(f'the parameter "{name}" is given twice')
        if len(value) > _LONGEST:
            raise Mistake(f'the parameter "{name}" has more than {_LONGEST} characters')
        if value.strip():
            found[name] = value.encode("utf-8", "replace").decode()
    found.pop(LANGUAGE, None)
    return found


def language_of(request: web.BaseRequest) -> tuple[Locale, bool]:
    """Return the language of a page, and whether the URL chose it. Otherwise the browser's settings count.

    `Accept-Language`: RFC 9110, section 12.5.4. English, if it asks for none of ours.
    """
    chosen = request.query.get(LANGUAGE)
    for locale in LOCALES:
        if chosen == locale:
            return locale, True
    wanted: list[tuple[float, Locale]] = []
    for part in request.headers.get("Accept-Language", "").split(",")[:_MOST_LANGUAGES]:
        tag, _, weight = part.partition(";")
        primary = tag.strip().lower().partition("-")[0]
        wanted += [(_weight(weight), locale) for locale in LOCALES if locale == primary]
    best = max(wanted, key=lambda one: one[0], default=None)
    return (best[1], False) if best is not None and best[0] > 0 else ("en", False)


def _weight(text: str) -> float:
    name, _, value = text.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
