"""The grammar of a mail address with a name: one parser for `check`, for the probe and for sending.

Pure. It accepts a text that has only one meaning, and adds the quotes that RFC 5322 requires. It refuses an ambiguous text.
"""

from __future__ import annotations

import re
import unicodedata

from msgspec import Struct

from gateway.core.urls import UrlError, parse_host

_ATOM = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_LOCAL = re.compile(rf"[{_ATOM}.\u00a1-\U0010ffff]+")
"""Dots and the characters of an atom (RFC 5322, section 3.2.3), including non-ASCII ones (RFC 6531, section 3.3)."""
_DOT_ATOM = re.compile(r"[^.]+(?:\.[^.]+)*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_LITERAL = re.compile(r"\[(IPv6:)?([^\[\]]*)\]", re.IGNORECASE)
_LONGEST_LOCAL = 64
"""Bytes before the @ (RFC 5321, section 4.5.3.1.1)."""
_JOINERS = "\u200c\u200d"
"""The joiners inside a word or an emoji, which are the only invisible characters that a name needs."""

_SHAPE = 'write it as "care@example.com" or "Customer care <care@example.com>"'


class MailboxError(ValueError):
    """A text that is not one mail address. `wrong` continues a sentence that names the key; `hint` says how to fix it."""

    def __init__(self, wrong: str, hint: str = _SHAPE) -> None:
        super().__init__(f"{wrong} ({hint})")
        self.wrong = wrong
        self.hint = hint


class Mailbox(Struct, frozen=True):
    """One mail address and its display name."""

    name: str
    """The display name as people read it, without quotes; "" if it has none."""
    local: str
    """The part before the @ as it is sent, in quotes if it needs them."""
    domain: str
    """Lower-case ASCII (Punycode for an international domain), or an address in brackets (RFC 5321, section 4.1.3)."""

    @property
    def address(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def needs_utf8(self) -> bool:
        """Return True if only a server with SMTPUTF8 (RFC 6531) can take the address, because its local part is not ASCII."""
        return not self.local.isascii()


def parse_mailbox(text: str) -> Mailbox:
    """Parse `care@example.com` or `Customer care <care@example.com>`. Raises MailboxError.

    Everything before the < is the name, so a comma, a dot or a parenthesis in it needs no quotes.
    """
    _check_characters(text)
    bare = _QUOTED.sub(lambda match: "q" * len(match[0]), text.strip())  # the same text, with harmless letters inside quotes
    text = text.strip()
    if bare.count('"') or "\\" in bare.partition("<")[2]:
        raise MailboxError('has a " that is not closed', 'write a " inside a quoted name as \\"')
    if bare.lower().startswith("mailto:"):
        raise MailboxError("begins with mailto:, but must be a plain address", "remove mailto:, and a ? with everything after it")
    if bare.count("<") > 1 or (bare.count("@") > 1 and not bare.endswith(">")):
        raise MailboxError("holds more than one address", "write each address as a separate string")
    if "<" not in bare:
        if ">" in bare:
            raise MailboxError("has a > without a <")
        return Mailbox("", *_address(text))
    if not bare.endswith(">") or bare.count(">") > 1:
        raise MailboxError("does not end with the > that closes its address")
    at = bare.index("<")
    return Mailbox(_name(text[:at].strip(), bare[:at].strip()), *_address(text[at + 1 : -1]))


def _check_characters(text: str) -> None:
    """Refuse characters that could end a header or a command, or make the text look different from what is sent.

    Raises MailboxError.
    """
    if not text.strip():
        raise MailboxError("is empty")
    for character in text:
        kind = unicodedata.category(character)
        if kind == "Cc" or kind in ("Zl", "Zp"):
            raise MailboxError("has a line break or another control character in it", "remove it; an address is on one line")
        if kind in ("Cf", "Cs", "Co") and character not in _JOINERS and not "\U000e0020" <= character <= "\U000e007f":
            raise MailboxError("has an invisible character in it", "type the address instead of pasting it")


def _name(text: str, bare: str) -> str:
    """Return the name without its quotes. `bare` is the same text with harmless letters inside quotes."""
    if (quoted := _QUOTED.fullmatch(text)) is not None:
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if text != bare:
        raise MailboxError("has a name that is only partly in quotes", "quote the whole name, or none of it")
    if "@" in text:
        raise MailboxError("has an @ in its name", "if these are two addresses, separate them; if not, quote the name")
    return text


def _address(text: str) -> tuple[str, str]:
    """Return the local part and the domain as they are sent. Raises MailboxError."""
    quoted = _QUOTED.match(text)
    local, at, domain = (quoted[0], *text[quoted.end() :].partition("@")[1:]) if quoted else text.partition("@")
    if quoted and not text[quoted.end() :].startswith("@"):
        raise MailboxError("is not a mail address: no @ follows the quotes")
    if not at:
        raise MailboxError("is not a mail address: it has no @")
    if "(" in text or ")" in text:
        raise MailboxError("has a comment in parentheses", 'write a name before the address: "Customer care <care@example.com>"')
    if any(sign in text for sign in ",;") and not quoted:
        raise MailboxError("is not a mail address: it has a comma or semicolon", "write each address as a separate string")
    if not quoted and (" " in text or any(character.isspace() for character in text)):
        raise MailboxError(
            "is not a mail address: it has a space", 'if it has a name, put the address in < and >: "Care <a@b.example>"'
        )
    if not local or not domain:
        raise MailboxError(f"is not a mail address: it has nothing {'before' if not local else 'after'} the @")
    if quoted:
        if not local.isascii():
            raise MailboxError("has quotes around a non-ASCII character before the @", "remove the quotes")
        local = _requoted(re.sub(r"\\(.)", r"\1", quoted[1]))
    elif _LOCAL.fullmatch(local) is None:
        wrong = next(character for character in local if _LOCAL.fullmatch(character) is None)
        raise MailboxError(f"is not a mail address: it has a {wrong} before the @")
    elif _DOT_ATOM.fullmatch(local) is None:
        if not local.isascii():
            raise MailboxError(
                "has a misplaced dot before the @", "the part before the @ cannot begin or end with a dot, or have two in a row"
            )
        local = _requoted(local)  # some providers issued addresses such as a..b@ and a.@, which have to be sent in quotes
    if len(local.encode()) > _LONGEST_LOCAL:
        raise MailboxError(f"has more than {_LONGEST_LOCAL} bytes before the @")
    return local, _domain(domain)


def _requoted(text: str) -> str:
    """Return the part before the @ in the form that every program accepts: with quotes and backslashes only if they are
    needed (RFC 5321, section 4.1.2)."""
    if text and _LOCAL.fullmatch(text) and _DOT_ATOM.fullmatch(text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _domain(text: str) -> str:
    if (literal := _LITERAL.fullmatch(text)) is not None:
        try:
            address = parse_host(f"[{literal[2]}]" if literal[1] else literal[2])
        except UrlError as error:
            raise MailboxError(f"after its @ {error.wrong}", error.hint) from None
        if (":" in address) == bool(literal[1]) and not re.search(r"[g-z]", address.replace(":", "")):
            return f"[IPv6:{address}]" if literal[1] else f"[{address}]"
        raise MailboxError("has brackets around text that is not an IP address", "write it as [192.0.2.1] or [IPv6:2001:db8::1]")
    try:
        domain = parse_host(text)
    except UrlError as error:
        raise MailboxError(f"after its @ {error.wrong}", error.hint) from None
    if domain.endswith("."):
        raise MailboxError("ends with a dot", f'remove it: "...@{domain.rstrip(".")}"')
    if ":" in domain or domain.replace(".", "").isdigit():
        literal_form = f"[IPv6:{domain}]" if ":" in domain else f"[{domain}]"
        raise MailboxError("has an IP address without brackets after its @", f"write {literal_form}, or the domain")
    return domain
