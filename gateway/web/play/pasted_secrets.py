"""`POST /play/secret`: a person pastes a secret, or lets the gateway forget those that were pasted. They stay in memory alone."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from gateway import SERVER
from gateway.core.secrets import Secret
from gateway.core.signature import Key
from gateway.web.admin import inputs
from gateway.web.play.shown_requests import ShownRequests
from gateway.web.responses import json_response

SECRET_PATH: Final = "/play/secret"


class PastedSecrets:
    """Takes the form of the page."""

    def __init__(self, shown: ShownRequests, *, path: str = SECRET_PATH, page: str = "/play") -> None:
        """
        Args:
            path: the path that the form is posted to.
            page: the path of the page that it stands on.
        """
        self._shown = shown
        self._path = path
        self._page = page

    async def handle(self, request: web.BaseRequest) -> web.Response | None:
        """Answer the form; None if the request is for another path. The guard has looked at its origin."""
        if request.path != self._path:
            return None
        if request.method != "POST":
            return json_response(405, {"error": "method_not_allowed", "detail": "POST"}, {"Allow": "POST"})
        try:
            given = await inputs.form(request, "secret", "forget", "lang")
        except inputs.MISTAKES as error:
            return inputs.refusal(error)
        language = {"lang": given["lang"]} if given.get("lang") in ("en", "ja") else {}
        if "forget" in given:
            self._shown.forget()
            return _to(self._page, language)
        secret = Secret(given.get("secret", "").strip())
        try:
            Key(secret)
        except ValueError:
            return _to(self._page, {"wrong": "secret", **language})
        self._shown.paste(secret)
        return _to(self._page, language)


def _to(path: str, query: dict[str, str]) -> web.Response:
    there = f"{path}?{urlencode(query)}" if query else path
    return web.Response(status=303, headers={"Server": SERVER, "Location": there})
