"""Hides what may be a secret in a request that people look at: credentials in headers, in the query, and wherever a known one is.

It hides too much rather than too little. The request itself is not changed: only its picture is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

HIDDEN = "***"

_NAMES = frozenset(
    ("authorization", "proxy-authorization", "cookie", "cookie2", "set-cookie", "x-auth", "x-amz-security-token", "x-access")
)
_WORDS = re.compile(
    r"token|secret|passw|pwd|api[-_]?key|access[-_]?key|credential|session|jwt|bearer|(?:^|[-_])(?:auth|key|sig)$"
)
"""Parts of the names of headers and parameters with credentials. A signature header is none: it proves, and opens nothing."""
_SCHEME = re.compile(r"(?i)(basic|bearer|digest|token|negotiate|apikey|hmac)[ \t]+")
"""The schemes that may stay readable (RFC 9110, section 11.1); what follows them is the credential."""
_ANYWHERE = (
    (re.compile(r"whsec(?:_|%5f)[A-Za-z0-9+/=%_-]*", re.IGNORECASE), f"whsec_{HIDDEN}"),
    (re.compile(r"\bleo_[A-Za-z0-9_-]+"), f"leo_{HIDDEN}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic)[ \t]+[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"//[^/@\s\"']*@"), f"//{HIDDEN}@"),
)
"""Forms of credentials that are known at sight: signing secrets, Legitmark's API keys, JSON Web Tokens, a login in a URL."""
_SHORTEST = 6
"""Characters of a secret that is looked for in texts. A shorter one would hide words."""
_PARAMETER = re.compile(r"((?:^|[&;])([^=&;]*+)=)[^&;]*+")


def without_credentials(raw: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of a request with the credentials in them hidden, so that they are not even kept."""
    return tuple((name, HIDDEN.encode() if _is_secret(name.decode("latin-1")) else value) for name, value in raw)


class Mask:
    """Makes pictures of requests without secrets."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """
        Args:
            secrets: texts that are hidden wherever they stand. A signing secret is hidden without its prefix, too.
        """
        whole = {secret.strip() for secret in secrets}
        bare = {secret.removeprefix("whsec_") for secret in whole}
        known = sorted((one for one in whole | bare if len(one) >= _SHORTEST), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """Return a text without the secrets that are known, and without what has the form of one."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for form, instead in _ANYWHERE:
            text = form.sub(instead, text)
        return text

    def header(self, name: str, value: str) -> str:
        """Return the value of a header as people may see it: a credential is hidden as a whole, except for its scheme."""
        if not _is_secret(name):
            return self.text(value)
        scheme = _SCHEME.match(value.lstrip())
        return f"{scheme[1]} {HIDDEN}" if scheme is not None and name.lower().endswith("authorization") else HIDDEN

    def headers(self, raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
        """Return the headers of a request as people may see them, in order. Bytes that are not UTF-8 become U+FFFD."""
        pairs = ((name.decode("utf-8", "replace"), value.decode("utf-8", "replace")) for name, value in raw)
        return [(self.text(name), self.header(name, value)) for name, value in pairs]

    def target(self, target: str) -> str:
        """Return a path with its query, in which the values of parameters that are named like a credential are hidden."""
        path, mark, query = target.partition("?")
        hidden = _PARAMETER.sub(lambda pair: f"{pair[1]}{HIDDEN}" if _is_secret(unquote_plus(pair[2])) else pair[0], query)
        return self.text(f"{path}{mark}{hidden}")


def _is_secret(name: str) -> bool:
    lowered = name.strip().lower()
    return lowered in _NAMES or _WORDS.search(lowered) is not None
