"""Every page, in the order of the navigation. The server, the tests and the pictures walk this table."""

from __future__ import annotations

from typing import Final

from gateway.web.pages.page import Page
from gateway.web.pages.views.overview_page import overview

PAGES: Final[tuple[Page, ...]] = (Page(name="overview", path="/", view=overview, template="overview.html", in_navigation=True),)


def page_at(path: str) -> tuple[Page, tuple[str, ...]] | None:
    """Return the page of a path with the texts that stand for its segments in braces; None if there is none."""
    for page in PAGES:
        if (names := page.names(path)) is not None:
            return page, names
    return None
