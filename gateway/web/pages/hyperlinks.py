"""The addresses of pages. A link keeps the language that was chosen, because all state is in the URL."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

TWIN = ".json"
"""The end of the path of a page's data as JSON."""
_DOTS = {".": "%2E", "..": "%2E%2E"}


def path_of(*segments: str) -> str:
    """Return the path of a page. Each segment may be any text, such as an id of a sender with slashes in it."""
    return "/" + "/".join(map(_segment, segments))


def url(path: str, query: Mapping[str, object]) -> str:
    """Return a path with its parameters. Empty parameters, and those that are None, are left out."""
    given = {name: str(value) for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given, errors='replace')}" if given else path


def _segment(text: str) -> str:
    quoted = _DOTS.get(text) or quote(text, safe="", errors="replace")
    # Otherwise the page about an id that ends in ".json" would look like the twin of another page.
    return f"{quoted.removesuffix(TWIN)}%2Ejson" if quoted.endswith(TWIN) else quoted
