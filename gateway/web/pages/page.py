"""The form of a page: a path, a question to the gateway, and a template. Pure data; `page_table` lists the pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from msgspec import Struct

from gateway.core.users import Role
from gateway.web.pages.asking import Asked, Control, Download, Elsewhere
from gateway.web.pages.hyperlinks import TWIN
from gateway.web.pages.live_streams import LIVE_PATH

View = Callable[[Control, Asked], Awaitable[Struct | Elsewhere | Download]]
"""Finds the data of a page. It may raise Mistake, NotThere, NotAllowed, CannotAnswer, or StoreError."""


class Page(Struct, frozen=True, kw_only=True):
    """One page, and its twin: the same data as JSON, at the same path with `.json` at the end."""

    name: str
    """The key of its texts: `title.NAME`, and `nav.NAME` if the navigation has it."""
    path: str
    """The path; a segment in braces stands for any text."""
    view: View
    template: str
    query: tuple[str, ...] = ()
    """The parameters that it takes, beside the language."""
    role: Role = Role.SUPPORT
    """The least role that may see it."""
    live: bool = True
    """It follows the gateway while somebody looks at it."""
    live_path: str = LIVE_PATH
    """The stream that tells it of changes."""
    in_navigation: bool = False
    post: View | None = None
    """Does what a form asks for that the page sends to its own path; None if it has none. It raises as a view does."""
    fields: tuple[str, ...] = ()
    """The fields of that form."""
    post_role: Role = Role.OPERATE
    """The least role that may send it."""

    @property
    def twin(self) -> str:
        """The path of its twin."""
        return f"{'/overview' if self.path == '/' else self.path}{TWIN}"

    def names(self, path: str) -> tuple[str, ...] | None:
        """Return the texts that stand in a path for the segments in braces; None if the path is that of another page.

        Args:
            path: percent-encoded, as the browser sent it: an id may hold a slash.
        """
        given, own = path.split("/"), self.path.split("/")
        if len(given) != len(own):
            return None
        found = []
        for part, pattern in zip(given, own, strict=True):
            if pattern.startswith("{") and part:
                found.append(unquote(part, errors="replace").encode("utf-8", "replace").decode())
            elif part != pattern:
                return None
        return tuple(found)


def page_path(path: str) -> tuple[str, bool]:
    """Return the path of a page, and True if the path given is that of its twin."""
    if path == f"/overview{TWIN}":
        return "/", True
    return path.removesuffix(TWIN), path.endswith(TWIN)
