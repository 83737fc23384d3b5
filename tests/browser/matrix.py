"""The addresses that the tests look at: every page of the table of pages, also in states that it shows only on request."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final, NamedTuple

from gateway.web.pages.page_table import PAGES
from tests.browser.axe import Axe
from tests.browser.layout import sideways, words
from tests.browser.visiting import NARROW, THEMES, WIDE, Theme, Visit

WHOLE: Final = bool(os.environ.get("GATEWAY_BROWSER"))
"""Look at everything in every way, as `make browser` does. Otherwise, pages that look alike are looked at in fewer ways."""
QUERIES: Final[Mapping[str, Sequence[str]]] = {
    "find": ("?q={beginning}", "?q=nothing+is+called+that", "?q=%3Cscript%3Ecanary%28%29%3C%2Fscript%3E"),
    "requests": ("?flag=undated", "?state=documented"),
    "messages": ("?status=quarantined", "?status=unrouted"),
    "message": ("?sink={name}",),
    "dead": ("?sink={name}",),
    "rules": ("?sample=authentic", "?id={id}"),
    "act": (
        "?do=pause&sink={name}",
        "?do=replay&id={id}&sink={name}",
        "?do=discard&sink={name}&state=dead",
        "?do=drill&sink={name}",
        "?do=sample",
        "?do=ask&id={sr_uuid}",
    ),
    "play": ("?wrong=secret",),
}
"""Further addresses of a page, by its name. A word in braces stands for a name of the story."""
Way = tuple[Theme, int]
"""A theme, and the width of the window."""
WAYS: Final[Sequence[Way]] = tuple(product(THEMES, (WIDE, NARROW)))
FEW_WAYS: Final[Sequence[Way]] = WAYS if WHOLE else (("light", WIDE), ("dark", NARROW))
"""Enough for a page whose style was looked at before: in the other language, or when it has nothing to show."""
ONE_WAY: Final[Sequence[Way]] = WAYS if WHOLE else (("dark", NARROW),)
"""Enough for a page without JavaScript: it is the same page, and nothing is swapped in it."""
SCRIPTS: Final = {"JavaScript": True, "none": False}


class Place(NamedTuple):
    """An address that a person may come to."""

    page: str
    """The name in the table of pages."""
    pattern: str
    """The path as the table has it."""
    query: str = ""

    def __str__(self) -> str:
        return f"{self.pattern}{self.query}"

    def path(self, names: Mapping[str, str]) -> str:
        """Return the address. `names` has the text for each word in braces."""
        return f"{self.pattern}{self.query}".format_map(names)

    @property
    def is_named(self) -> bool:
        """True if the address names a thing, which may not be there."""
        return "{" in f"{self.pattern}{self.query}"

    def twin(self, names: Mapping[str, str]) -> str:
        """Return the address of the same data as JSON."""
        (page,) = (page for page in PAGES if page.name == self.page)
        return f"{page.twin}{self.query}".format_map(names)


PLACES: Final[Sequence[Place]] = tuple(
    Place(page.name, page.path, query) for page in PAGES for query in ("", *QUERIES.get(page.name, ()))
)
_IN_PICTURES: Final = {"find": QUERIES["find"][0], "rules": QUERIES["rules"][1], "act": QUERIES["act"][1]}
PICTURED: Final[Sequence[Place]] = tuple(place for place in PLACES if place.query == _IN_PICTURES.get(place.page, ""))
"""One place of each page, for its picture: a search that finds several, an act that is to be confirmed, and so on."""


_ESCAPED: Final = re.compile("&(#x?[0-9a-f]+|amp|lt|gt|quot);", re.IGNORECASE)


async def is_whole(visit: Visit, axe: Axe, ways: Sequence[Way] = WAYS) -> None:
    """Assert that the page that is shown has no fault: it is accessible and fits into the window, in each of these ways."""
    found = [f"escaped twice: {text}" for text in await words(visit.page) if _ESCAPED.search(text)]
    for theme, width in ways:
        await visit.look_again(theme=theme, width=width)
        found += [f"{visit.look}: {fault}" for fault in await axe.violations(visit.page) + await sideways(visit.page)]
    assert not found, "\n".join(found)
