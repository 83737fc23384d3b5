"""The headers of every page: what a browser may load, run and keep of it. Decides nothing else.

Sources: Content Security Policy Level 3, Trusted Types, Fetch (CORP), HTML (COOP), RFC 9111 (no-store).
"""

from __future__ import annotations

from typing import Final

from gateway import SERVER

_EVERYWHERE = {
    "Server": SERVER,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)

PAGE_HEADERS: Final = {**_EVERYWHERE, "Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
"""The headers of a page, of its twin, and of what it streams."""
FILE_HEADERS: Final = {**_EVERYWHERE, "Cache-Control": "private, max-age=31536000, immutable"}
"""The headers of a style sheet or a script, whose URL changes with its content."""
DOWNLOAD_HEADERS: Final = {
    **_EVERYWHERE,
    "Content-Type": "application/octet-stream",
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""The headers of a raw body; `Content-Disposition` is added. A browser never shows it, whatever it is."""
