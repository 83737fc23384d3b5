"""The content of the page on which people sign in. `web.pages` draws it."""

from __future__ import annotations

from typing import Literal

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
