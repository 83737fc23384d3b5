"""The grammar of http(s) URLs and host names: one parser for `check`, for the probe and for the client that sends.

Pure: it resolves no name and opens no socket. No error text quotes any part of a URL, because a URL may be a secret.
"""

from __future__ import annotations

import ipaddress
import re

from msgspec import Struct

_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ALMOST = re.compile(r"(?i)https?[:;]?[/\\]*")
"""Common misspellings of `https://`: `http:/x`, `https//x`, `https:x`, `https:\\\\x`."""
_PLACEHOLDER = re.compile(r"\$\{|\{\{|\$\(|%\(|<[A-Za-z_ -]+>")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_LONGEST_NAME = 253
"""Characters of a host name (RFC 1035, section 2.3.4, without the length bytes)."""
_NEVER_IN_A_TARGET = '"<>{}\\'

SCHEMES = "http:// or https://"
_ENCODE = "write it percent-encoded; copying from a browser's address bar does that"


class UrlError(ValueError):
    """A text that is not a URL, or not a host. `wrong` continues a sentence that names the key; `hint` says how to fix it."""

    def __init__(self, wrong: str, hint: str) -> None:
        super().__init__(f"{wrong} ({hint})")
        self.wrong = wrong
        self.hint = hint


class Url(Struct, frozen=True):
    """An absolute http(s) URL, split into parts and otherwise unchanged."""

    scheme: str
    """`http` or `https`, in lower case."""
    host: str
    """The host to resolve and dial, in lower-case ASCII (Punycode for an international name); IPv6 without brackets."""
    port: int
    """The port, from 1 to 65535. The default is the port of the scheme."""
    target: str
    """Path and query, byte for byte as written, always with a slash at its beginning (RFC 9112, section 3.2.1)."""

    @property
    def place(self) -> str:
        """Host and port, as people and proxies name them."""
        return place_of(self.host, self.port)

    @property
    def authority(self) -> str:
        """The value of the `Host` header (RFC 9110, section 7.2). It omits the port if that is the default of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme and authority, the part of a URL that is never secret."""
        return f"{self.scheme}://{self.authority}"


def parse_url(text: str, *, for_people: bool = False) -> Url:
    """Split a URL into its parts (RFC 3986), and refuse any text that a client would have to guess at. Raises UrlError.

    Args:
        for_people: The URL is a link that a browser opens, so it may have a fragment, and non-ASCII characters after its host.
    """
    _check_text(text)
    match = _SCHEME.match(text)
    if match is None or match[1].lower() not in _PORTS:
        raise _no_scheme(text, match[1].lower() if match else None)
    scheme, rest = match[1].lower(), text[match.end() :]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if re.match(r"(?i)https?:/", rest):
        raise UrlError("begins with two schemes", f"keep one {SCHEMES}")
    target, hash_, _ = rest[len(authority) :].partition("#")
    if hash_ and not for_people:
        raise UrlError("has a fragment after a #, which a request never carries", "remove it; write a # in a path as %23")
    if "@" in authority:
        raise UrlError(
            "has a user name or password before its host",
            "put a token into bearer, a user name and password into basic; write an @ in a path as %40",
        )
    host, port = _host_and_port(authority, _PORTS[scheme])
    if (wrong := next((sign for sign in _NEVER_IN_A_TARGET if sign in target), None)) is not None:
        raise UrlError(f"has a {wrong} in its path or query", f"write it as %{ord(wrong):02X}")
    if not target.isascii() and not for_people:
        raise UrlError("has a non-ASCII character in its path or query", _ENCODE)
    return Url(scheme, host, port, target if target.startswith("/") else f"/{target}")


def is_url(text: str) -> bool:
    """Return True if `parse_url` accepts the text."""
    try:
        parse_url(text)
    except UrlError:
        return False
    return True


def parse_host(text: str) -> str:
    """Parse a host name or an IP address. Raises UrlError.

    The result is lower-case ASCII, and an IPv6 address has no brackets.
    """
    _check_text(text)
    if "://" in text:
        raise UrlError("is a URL, but must be only a host", 'write the part after "://", such as "smtp.example.com"')
    if "@" in text:
        raise UrlError("has an @ in it, but must be only a host", "write the part after the @")
    if re.search(r"[/?#]", text):
        raise UrlError("has a path after the host", "write only the host")
    if re.fullmatch(r"\[[^\]]*\]", text):
        return _ipv6(text[1:-1])
    if text.count(":") > 1:
        return _ipv6(text)
    if ":" in text:
        raise UrlError("has a port in it, but must be only a host", "the port has its own key")
    return _name(text)


def place_of(host: str, port: str | int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_text(text: str) -> None:
    """Refuse the characters that neither a URL nor a host may hold, but that people often paste. Raises UrlError."""
    if not text.strip():
        raise UrlError("is empty", "")
    if re.search(r"[\r\n\u2028\u2029\x85]", text):
        raise UrlError("has a line break in it", 'write it on one line; look for """ and for text pasted from a mail')
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text):
        raise UrlError("has a tab or another control character in it", "remove it")
    if text != text.strip():
        raise UrlError("begins or ends with a space", "remove it")
    if any(character.isspace() for character in text):
        raise UrlError("has a space in it", "remove it; write a space that belongs to a path or query as %20")
    if not text.isprintable():
        raise UrlError("has an invisible character in it", "type the text instead of pasting it")
    if _PLACEHOLDER.search(text):
        raise UrlError("has a placeholder in it, and placeholders have no effect here", "write the value itself")


def _no_scheme(text: str, scheme: str | None) -> UrlError:
    if scheme is not None:
        return UrlError("is not an http(s) URL", f"it must begin with {SCHEMES}")
    if (match := _ALMOST.match(text)) and match[0].lower() not in ("http", "https"):
        meant = "https://" if match[0].lower().startswith("https") else "http://"
        return UrlError("is not an http(s) URL", f"did you mean {meant} at its beginning?")
    return UrlError("is not an http(s) URL: it has no scheme", f"it must begin with {SCHEMES}")


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    if "\\" in authority:
        raise UrlError("has a backslash in it", "write slashes: /")
    if authority.startswith("["):
        inner, closed, behind = authority[1:].partition("]")
        if not closed or (behind and not behind.startswith(":")):
            raise UrlError("has a [ in its host that is not closed", "write an IPv6 address as [2001:db8::1]")
        host, colon, port = _ipv6(inner), behind[:1], behind[1:]
    else:
        if authority.count(":") > 1:
            raise UrlError("has several colons in its host", "write an IPv6 address as [2001:db8::1]")
        name, colon, port = authority.partition(":")
        if not name:
            raise UrlError("has no host", f"write a host after {SCHEMES}")
        host = _name(name)
    if not colon:
        return host, default
    if not port:
        raise UrlError("has a colon after its host, but no port", "write the port, or remove the colon")
    if re.fullmatch(r"[0-9]{1,5}", port) is None or not 1 <= int(port) <= 65535:
        raise UrlError("has a port that is not a number from 1 to 65535", "write the port as digits")
    return host, int(port)


def _ipv6(text: str) -> str:
    if "%" in text:
        raise UrlError("has an IPv6 address with a zone", "an address with a zone is link-local, and sinks never dial those")
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise UrlError("has brackets or colons, but no valid IPv6 address", "write it as [2001:db8::1]") from None


def _name(text: str) -> str:
    """Return the DNS name or the IPv4 address to resolve. Raises UrlError."""
    if text.startswith("$") or re.search(r"\$[A-Za-z_]|%[A-Za-z_]+%|[{}]", text):
        raise UrlError("has a placeholder in its host, and placeholders have no effect here", "write the host itself")
    name = text.lower() if text.isascii() else _punycode(text)
    labels = name.removesuffix(".").split(".")
    if not all(labels):
        raise UrlError("has two dots in a row, or a dot at the beginning of its host", "remove a dot")
    if len(name) > _LONGEST_NAME or any(len(label) > 63 for label in labels):
        raise UrlError("has a host that is too long", "a name has at most 253 characters, and 63 between two dots")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlError(
            "has a character in its host that is not allowed there", "use letters, digits, dots, and hyphens inside a name"
        )
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):  # some resolvers read these as addresses: 127.1, 0x7f000001
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise UrlError("has a host of digits that is not an IPv4 address", "write four numbers from 0 to 255") from None
    return name


def _punycode(text: str) -> str:
    """Return the ASCII form of an international name. Raises UrlError.

    Names for which the two standards (RFC 3490 and RFC 5891) disagree are refused: a wrong guess would be another host.
    """
    lowered = text.lower()
    try:
        name = lowered.encode("idna").decode("ascii")
        if name.encode("ascii").decode("idna") == lowered:
            return name
    except UnicodeError:
        pass
    raise UrlError("has an international host name with more than one possible ASCII form", "write it as xn--...")
