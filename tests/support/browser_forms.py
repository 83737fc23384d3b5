"""A browser of one user without JavaScript: it reads pages, and sends their forms as they stand there."""

from __future__ import annotations

import html
import http.client
import json
import re
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import urlencode

from gateway.core.users import Role
from tests.support.gateway_process import Running
from tests.support.waiting import PATIENCE

TOKENS = {role.value: f"a-token-for-{role.value}-4711" for role in Role}
"""The token of the user who has each role, and its name."""
USERS = '[admin]\nlisten = ["127.0.0.1:0"]\n' + "".join(
    f'[admin.users.{name}]\ntoken = {{ env = "{name.upper()}" }}\nrole = "{name}"\n' for name in TOKENS
)
"""The tables of these users."""
SECRETS = {name.upper(): token for name, token in TOKENS.items()} | {"ADMIN_TOKEN": TOKENS["support"]}


class Said(NamedTuple):
    status: int
    location: str
    text: str


class Browser:
    """A browser of one user."""

    def __init__(self, running: Running, user: str) -> None:
        self._running = running
        self._user = user

    def get(self, path: str) -> Said:
        return self._ask("GET", path, None, {"Accept": "text/html"})

    def json(self, path: str) -> Any:
        said = self.get(path)
        assert said.status == 200, said
        return json.loads(said.text)

    def form(self, path: str, number: int = 0) -> dict[str, str]:
        """The fields of a form of a page, as they are sent when nobody touches them."""
        said = self.get(path)
        assert said.status == 200, said
        forms = re.findall(r'<form method="post" action="(?:&#x2f;|/)act[^"]*"[^>]*>(.*?)</form>', said.text, re.DOTALL)
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', forms[number])
        checked = re.findall(r'<input type="checkbox" name="(\w+)" value="([^"]*)" checked', forms[number])
        return {name: html.unescape(value) for name, value in (*hidden, *checked)}

    def send(self, fields: dict[str, str], path: str = "/act", *, site: str = "same-origin") -> Said:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": site, "Accept": "text/html"}
        return self._ask("POST", path, urlencode(fields), headers)

    def reload(self) -> Said:
        """Let the gateway read its configuration again, as a program does."""
        return self._ask("POST", "/-/reload", "{}", {"Content-Type": "application/json"})

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Said:
        address = self._running.addresses["admin"]
        assert isinstance(address, tuple)
        with closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as connection:
            connection.request(method, path, body, {"Authorization": f"Bearer {TOKENS[self._user]}", **headers})
            answer = connection.getresponse()
            return Said(answer.status, answer.getheader("Location", ""), answer.read().decode())
