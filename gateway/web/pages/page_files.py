"""The style sheet, the script and the sign of the pages, at URLs that change with their content: a browser may keep them."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from aiohttp import web
from msgspec import Struct

from gateway.web.pages.page_headers import FILE_HEADERS

PAGE_FILES = "/assets/"
"""The folder of their URLs."""
_TYPES = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "page.svg": "image/svg+xml",
}


class _File(Struct, frozen=True):
    body: bytes
    content_type: str
    etag: str


class PageFiles:
    """The files that pages name in their heads."""

    def __init__(self, folder: str = PAGE_FILES) -> None:
        """`folder` is the beginning of the URLs of all files."""
        self._files: dict[str, _File] = {}
        self._urls: dict[str, str] = {}
        for name, content_type in _TYPES.items():
            body = files(__package__).joinpath("assets", name).read_bytes()
            digest = hashlib.sha256(body).hexdigest()[:16]
            self._urls[name] = f"{folder}{digest}/{name}"
            self._files[self._urls[name]] = _File(body, content_type, f'"{digest}"')

    def url(self, name: str) -> str:
        """Return the URL of a file."""
        return self._urls[name]

    def answer(self, request: web.BaseRequest) -> web.Response | None:
        """Answer a request for a file; None if the path is that of no file. An older version is not there any more."""
        if (found := self._files.get(request.path)) is None:
            return None
        headers = {**FILE_HEADERS, "ETag": found.etag, "Content-Type": found.content_type}
        if request.headers.get("If-None-Match") == found.etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=found.body, headers=headers)
