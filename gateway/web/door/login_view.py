"""The content of the page on which people sign in."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

LoginProblem = Literal["wrong", "too_many", "no_tokens", "ended"]
"""Why nobody is signed in: the token is wrong, too many were tried, the configuration has no token at all, or the session ended
before a form was sent, which therefore changed nothing."""


class LoginView(Struct, frozen=True, kw_only=True):
    next: str
    """The local path to go to afterwards."""
    problem: LoginProblem | None = None
    wait_seconds: int = 0
    """Seconds until another token may be tried, if too many were."""
    try_again: str | None = None
    """The path that the browser opens at once, because a link on another site led here and browsers then hold the cookie back;
    None shows the page alone."""
