"""The page on which people sign in: plain HTML that works without a script. It says the same in English and in Japanese."""

from __future__ import annotations

from functools import cache
from typing import Literal

from minijinja import Environment
from msgspec import Struct

Language = Literal["en", "ja"]
Problem = Literal["wrong", "too_many", "no_tokens"]
"""Why nobody was signed in: the token is wrong, too many were tried, or the configuration has no token at all."""


class LoginView(Struct, frozen=True, kw_only=True):
    """The content of the page."""

    language: Language
    next: str
    """The local path to go to afterwards."""
    problem: Problem | None = None
    wait_seconds: int = 0
    """Seconds until another token may be tried, if too many were."""
    try_again: str | None = None
    """The path that the browser opens at once, because a link on another site led here and browsers then hold the cookie back;
    None shows the page alone."""


_TEXTS: dict[Language, dict[str, str]] = {
    "en": {
        "title": "Sign in",
        "token": "Token",
        "submit": "Sign in",
        "hint": "The token of your user in gateway.toml: [admin.users.NAME], or [admin] token.",
        "wrong": "This token belongs to no user.",
        "too_many": "Too many wrong tokens came from this address. Try again in {} s.",
        "no_tokens": "No user of this gateway has a token: open it through the proxy that knows who you are.",
    },
    "ja": {
        "title": "サインイン",
        "token": "トークン",
        "submit": "サインイン",
        "hint": "gateway.toml にあるあなたのユーザーのトークン: [admin.users.NAME] または [admin] token。",
        "wrong": "このトークンを持つユーザーはいません。",
        "too_many": "このアドレスから誤ったトークンが多数送られました。{} 秒後にもう一度お試しください。",
        "no_tokens": "このゲートウェイにはトークンを持つユーザーがいません。認証を行うプロキシを経由して開いてください。",
    },
}

_TEMPLATE = """<!doctype html>
<html lang="{{ language }}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{% if try_again %}<meta http-equiv="refresh" content="0; url={{ try_again }}">
{% endif %}<title>{{ texts.title }} · legitmark-gateway</title>
</head>
<body>
<main>
<h1>{{ texts.title }}</h1>
{% if problem %}<p role="alert">{{ problem }}</p>
{% endif %}{% if form %}<form method="post" action="/login">
<input type="hidden" name="next" value="{{ next }}">
<input type="text" autocomplete="username" hidden>
<p><label for="token">{{ texts.token }}</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus aria-describedby="hint"></p>
<p id="hint">{{ texts.hint }}</p>
<p><button type="submit">{{ texts.submit }}</button></p>
</form>
{% endif %}</main>
</body>
</html>
"""


def login_page(view: LoginView) -> str:
    """Return the page as HTML."""
    texts = _TEXTS[view.language]
    problem = texts[view.problem].format(view.wait_seconds) if view.problem is not None else None
    return _environment().render_template(
        "login.html",
        language=view.language,
        next=view.next,
        problem=problem,
        form=view.problem != "no_tokens",
        try_again=view.try_again,
        texts=texts,
    )


def language_of(accept_language: str) -> Language:
    """Return the language of the two that a browser prefers (RFC 9110, section 12.5.4); English if it names neither."""
    preferred: tuple[float, Language] = (0.0, "en")
    for part in accept_language[:200].lower().split(","):
        name, _, parameter = part.partition(";")
        language: Language | None = {"en": "en", "ja": "ja"}.get(name.strip().partition("-")[0])  # type: ignore[assignment]
        try:
            quality = float(parameter.strip().removeprefix("q=") or 1.0)
        except ValueError:
            quality = 0.0
        if language is not None and quality > preferred[0]:
            preferred = (quality, language)
    return preferred[1]


@cache
def _environment() -> Environment:
    return Environment(templates={"login.html": _TEMPLATE})
