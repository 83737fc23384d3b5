"""Draws pages from the templates of this package, which are read and compiled once. Every value is escaped and made visible."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from typing import Any

from minijinja import Environment, Markup, escape

from gateway.core.attention import MOST_COUNTED, Attention, SinkStatus
from gateway.web.pages.attention_words import attention_words
from gateway.web.pages.catalogue import LOCALES, Locale, catalogue
from gateway.web.pages.formats import Formats, plain_value
from gateway.web.pages.hyperlinks import href, path_of
from gateway.web.pages.page_files import PageFiles
from gateway.web.pages.sayings import said
from gateway.web.pages.shown_text import visible, visible_lines
from gateway.web.pages.sparkline import sparkline
from gateway.web.pages.where_to_look import where_to_look

_BRIEF = 80
_LONGEST = 400
"""Characters of a text that are shown, with how many more there are: a sender may write 200 KB where others write an id."""
_LONGEST_URL = 4000
"""Characters. This server takes 8,190 in a line (`bounded.BOUNDS`), proxies often less."""


class Drawing:
    """The templates in one language.

    Functions of every template, also of macros:

        t(key, **values)            a text of the catalogue
        has_text(key)               whether there is one
        with_element(key, name, element, **values)
                                    a text with an element in the place of one of its placeholders
        with_elements(key, **elements)
                                    a text with elements in the place of all of them
        link(*segments, **query)    the URL of a page whose path has these segments; none if it would be too long
        page_url(page, *segments, **query)
                                    the same; none if the table has no page of this name
        link_to(path)               the URL of a page by its whole path
        look_at(thing)              the URL of the page about what needs a person, or about a sink; none if there is no such page
        file(name)                  the URL of a style sheet or script
        brief(text)                 a text of a stranger, cut after 80 characters
        called(*names)              the first of some names that shows anything, in brief
        lines(text)                 a text of a stranger with its line breaks
        as_typed(text)              a text that a visitor typed, for the field in which it was typed
        whole(text)                 a text that is not cut, however long it is
        plain(json)                 a value of a rule without quotes and brackets, if that leaves it clear
        number, counted, size, span numbers and durations
        moment, second, ago, until  instants, as elements: to the minute, to the second, and as spans from now
        as_of(), now_ms()           when this page was drawn, in words and in Unix milliseconds
        sparkline(numbers)          a small curve
        said(text)                  what the gateway said in English, such as why a delivery failed, in the language of the page
        reason_words(reason)        a reason of the closed list, or what was said, in the language of the page
        attention_words(one, status)
                                    what needs a person
        languages                   every language
    """

    def __init__(self, language: Locale, chosen: bool, page_files: PageFiles, pages: Collection[str]) -> None:
        """
        Args:
            chosen: the language stands in the URL, so links keep it.
            pages: the names of all pages.
        """
        self.texts = catalogue(language)
        self._formats = Formats(self.texts)
        self._kept = {"lang": language} if chosen else {}
        self._pages = pages
        self._now = 0.0
        # A template that names something that is not there fails, instead of showing nothing.
        self._environment = Environment(
            templates=_sources(),
            auto_escape_callback=lambda name: "html",
            undefined_behavior="strict",
            finalizer=_finished,
            trim_blocks=True,
            lstrip_blocks=True,
            pycompat=False,
            debug=False,  # an error would hold the values of all variables
            globals={
                "t": self.texts.text,
                "has_text": self.texts.__contains__,
                "with_element": self._with_element,
                "with_elements": self._with_elements,
                "link": self._link,
                "page_url": lambda page, *segments, **query: self._link(*segments, **query) if page in pages else None,
                "link_to": lambda path: href(path, self._kept),
                "look_at": self._look_at,
                "file": page_files.url,
                "brief": _brief,
                "called": lambda *names: _brief(next((one for one in names if one and one.strip()), "")),
                "lines": lambda text: Markup(escape(visible_lines(text))),
                "as_typed": lambda text: Markup(escape(text)),
                "whole": lambda text: Markup(escape(visible(text))),
                "plain": plain_value,
                "number": self._formats.number,
                "counted": self._counted,
                "size": self._formats.size,
                "span": self._formats.span,
                "span_between": lambda earlier, later: self._formats.span((later - earlier).total_seconds()),
                "moment": lambda instant: self._formats.moment(instant, self._now),
                "second": lambda instant: self._formats.moment(instant, self._now, seconds=True),
                "ago": lambda instant: self._formats.ago(instant, self._now),
                "until": lambda instant: self._formats.until(instant, self._now),
                "as_of": self._as_of,
                "now_ms": lambda: int(self._now * 1000),
                "sparkline": sparkline,
                "said": self._said,
                "reason_words": self._reason,
                "attention_words": lambda one, status: attention_words(one, status, self.texts),
                "languages": LOCALES,
            },
        )

    def draw(self, template: str, now: float, values: Mapping[str, Any]) -> str:
        """Return a page as HTML.

        Args:
            now: Unix seconds, UTC; spans of time are counted from it.
            values: the variables of the template.
        """
        self._now = now
        return self._environment.render_template(template, **values)

    def _link(self, *segments: str, **query: object) -> Markup | None:
        """Return the URL of a page; None if a browser or a proxy would cut it: then no page is at the end of it."""
        found = href(path_of(*segments), {**query, **self._kept})
        return found if len(found) <= _LONGEST_URL else None

    def _look_at(self, thing: Attention | SinkStatus) -> str | None:
        place = where_to_look(thing)
        return href(place.path, {**place.query, **self._kept}) if place is not None and place.page in self._pages else None

    def _with_element(self, key: str, name: str, element: str, **values: Any) -> str:
        return self._with_elements(key, **{name: element}, **{other: escape(visible(str(v))) for other, v in values.items()})

    def _with_elements(self, key: str, /, **elements: str) -> str:
        # The texts of the catalogue are our own, and a test holds that none of them has to be escaped.
        return Markup(self.texts.text(key, **elements))

    def _counted(self, number: int | None) -> str:
        """Return a number that the store counts up to a bound."""
        shown = self._formats.number(number)
        return self.texts.text("overview.or_more", number=shown) if number == MOST_COUNTED else shown

    def _said(self, text: str | None) -> str:
        return said(text or "", self.texts.language)

    def _reason(self, reason: str | None) -> str:
        key = f"reason.{reason}"
        return self.texts.text(key) if key in self.texts else self._said(reason)

    def _as_of(self) -> str:
        return self.texts.text("page.as_of", time=f"{datetime.fromtimestamp(self._now, UTC):%H:%M:%S}")


@lru_cache
def _sources() -> dict[str, str]:
    folder = files(__package__).joinpath("templates")
    return {one.name: one.read_text(encoding="utf-8") for one in folder.iterdir() if one.name.endswith(".html")}


def _brief(text: str) -> str:
    shown = visible(text[: _BRIEF + 1])
    return shown if len(shown) <= _BRIEF else f"{shown[:_BRIEF]}…"


def _finished(value: Any) -> Any:
    """Return a value as it is shown: None is nothing, and a stranger's text has no hidden character and an end."""
    if value is None:
        return ""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return visible(value) if len(value) <= _LONGEST else visible(f"{value[:_LONGEST]}… (+{len(value) - _LONGEST:,})")
