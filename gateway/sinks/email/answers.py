"""The meaning of a mail server's answers for a delivery.

Answer                                                    Outcome
4xx, a broken connection, no answer                       Retry: it may work later
5xx to the greeting, STARTTLS, the login or the sender    Retry that opens the breaker: every mail would meet it
5xx to every recipient                                    the same: the recipients are fixed, whatever the mail says
5xx to the content, or to the size                        Reject: it is this mail's own, unless its enhanced code
                                                          names the sender, the recipients or the server
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping

import aiosmtplib

from gateway.core.outcome import Delivered, Outcome, Reason, Reject, Retry
from gateway.sinks.net.address_guard import BlockedAddress, words

_NAMED = 5
"""The most refused recipients that one detail names."""
_TOO_BIG = (523, 552)
"""The mail is larger than the server takes (RFC 1870, section 6; 523 by some servers)."""
_TOO_BIG_ENHANCED = frozenset({"5.2.3", "5.3.4"})
"""Message length exceeds administrative limit; message too big for system (RFC 3463, sections 3.3 and 3.4)."""
_LOGIN = frozenset({530, 534, 535, 538})
"""Authentication required, too weak, invalid, or wanted under encryption (RFC 4954, section 6)."""
_COMMANDS = frozenset({500, 501, 502, 503, 504, 521, 556, 555})
"""The server does not know a command that every mail needs (RFC 5321, section 4.2.2), or takes no mail at all (RFC 7504)."""
_OF_THE_MAIL = frozenset(
    {
        *("5.0.0", "5.2.0", "5.2.3", "5.3.0", "5.3.4", "5.5.0", "5.5.2"),
        *(f"5.6.{detail}" for detail in range(100) if detail != 7),
        *("5.7.0", "5.7.1", "5.7.5", "5.7.6", "5.7.7"),
    }
)
"""Codes by which a refusal after the content concerns this mail alone (RFC 3463 and IANA's registry of SMTP enhanced status
codes): its size, its content and media, its integrity, and a policy without details.

Every other code is about the sender, the login, the recipients, their mailboxes, the route or the server, which are the same for
every mail: an address or mailbox that is gone (5.1, 5.2), a server that takes nothing (5.3), a sending limit (5.4.5, which Gmail
uses), a command (5.5), SPF, DKIM, DMARC or a blocked account (5.7.20 to 5.7.27, and 5.7.5xx of Exchange Online).
"""

_ENHANCED = re.compile(r"\s*([245]\.[0-9]{1,3}\.[0-9]{1,3})\b")


def verdict(refused: Mapping[str, aiosmtplib.SMTPResponse], recipients: int, place: str) -> Outcome:
    """Decide on a mail that was handed over. A recipient that was refused for now (4xx) is a retry. Without one, the mail is
    delivered if any recipient has it.

    The detail names the refused recipients, even if the mail is delivered; the audit log and `gateway show` have it.

    Args:
        refused: the answer for each recipient that was refused in this attempt; all others have the mail.
        recipients: the number of all recipients.
    """
    if not refused:
        return Delivered(250)
    codes = [answer.code for answer in refused.values()]
    named = ", ".join(f"{recipient} (SMTP {answer.code})" for recipient, answer in list(refused.items())[:_NAMED])
    more = f" (+{len(refused) - _NAMED} more)" if len(refused) > _NAMED else ""
    detail = f"{place} refused {len(refused)} of {recipients} recipients: {named}{more}"
    if later := [code for code in codes if code < 500]:
        return Retry(Reason.SMTP_STATUS, detail, min(later))
    if len(refused) < recipients:
        return Delivered(250, detail)
    if all(_is_too_big(answer.code, answer.message) for answer in refused.values()):
        return Reject(Reason.SMTP_STATUS, f"{detail}; it is too big for them", max(codes))
    login = next((code for code in codes if code in _LOGIN), None)
    advice = _advice(login or max(codes), "recipients, sender and what the server lets this login send")
    return Retry(Reason.SMTP_STATUS, f"{detail}; {advice}", login or max(codes), sink_wide=True)


def failure(error: aiosmtplib.SMTPException | OSError | UnicodeError, host: str, port: int) -> Retry | Reject:
    """Return the outcome of an attempt that ended before a recipient was named, or after the content."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    match error:
        case BlockedAddress():
            detail = "the address is one that this sink may not dial; see allow_networks"
            return Retry(Reason.BLOCKED, detail, sink_wide=True)
        case aiosmtplib.SMTPAuthenticationError():
            detail = f"{place} refused the login: SMTP {error.code}; check username and password"
            return Retry(Reason.SMTP_STATUS, detail, error.code, sink_wide=True)
        case UnicodeError():
            return Retry(Reason.DNS, f"{host} is not a valid DNS name")
        case aiosmtplib.SMTPResponseException(code=-1):
            return Retry(Reason.PROTOCOL, f"{place}: the answer is not SMTP")
        case aiosmtplib.SMTPSenderRefused():
            return _refused_sender(error, place)
        case aiosmtplib.SMTPDataError():
            return _refused_content(error, place)
        case aiosmtplib.SMTPResponseException():
            detail = f"{place} refuses mail: SMTP {error.code}"
            if error.code < 500:
                return Retry(Reason.SMTP_STATUS, detail, error.code)
            advice = _advice(error.code, "host, port and what the server lets this machine send")
            return Retry(Reason.SMTP_STATUS, f"{detail}; {advice}", error.code, sink_wide=True)
        case aiosmtplib.SMTPTimeoutError() | TimeoutError():
            return Retry(Reason.TIMEOUT, f"{place}: no answer in time")
        case ssl.SSLError():
            return _refused_tls(error, place)
        case aiosmtplib.SMTPServerDisconnected() | ConnectionResetError() | BrokenPipeError():
            return Retry(Reason.RESET, f"{place} closed the connection")
        case socket.gaierror():
            return Retry(Reason.DNS, f"{host} has no address")
        case aiosmtplib.SMTPConnectError() | OSError():
            cause = error.__cause__ or error
            if isinstance(cause, ssl.SSLError):
                return _refused_tls(cause, place)
            return Retry(Reason.CONNECT, f"{place}: {words(cause) if isinstance(cause, OSError) else 'no connection'}")
        case _ if "AUTH extension" in str(error) or "authentication method" in str(error):
            detail = f"{place} offers no login; check port and security, or remove username and password"
            return Retry(Reason.PROTOCOL, detail, sink_wide=True)
        case _ if "STARTTLS" in str(error):
            detail = f"{place} offers no STARTTLS; nothing was sent in clear text; check port and security"
            return Retry(Reason.TLS, detail, sink_wide=True)
        case _:
            return Retry(Reason.PROTOCOL, f"{place}: the answer is not SMTP")


def no_utf8(addresses: list[str], place: str) -> Retry:
    """Return the outcome if the server cannot take an address whose local part is beyond ASCII (RFC 6531, section 3.2)."""
    named = ", ".join(addresses[:_NAMED])
    detail = f"{place} offers no SMTPUTF8, which {named} needs; use a server that does, or an address in ASCII before its @"
    return Retry(Reason.PROTOCOL, detail, sink_wide=True)


def _refused_sender(error: aiosmtplib.SMTPSenderRefused, place: str) -> Retry | Reject:
    detail = f"{place} answered the sender with SMTP {error.code}"
    if error.code < 500:
        return Retry(Reason.SMTP_STATUS, detail, error.code)
    if _is_too_big(error.code, error.message):  # MAIL says how big the mail is
        return Reject(Reason.SMTP_STATUS, f"{detail}: the mail is too big for it", error.code)
    advice = _advice(error.code, "sender and what the server lets this login send")
    return Retry(Reason.SMTP_STATUS, f"{detail}; {advice}", error.code, sink_wide=True)


def _refused_content(error: aiosmtplib.SMTPDataError, place: str) -> Retry | Reject:
    detail = f"{place} answered the mail with SMTP {error.code}"
    if error.code < 500:
        return Retry(Reason.SMTP_STATUS, detail, error.code)
    if error.code in _LOGIN or error.code in _COMMANDS or _enhanced(error.message) not in (None, *_OF_THE_MAIL):
        advice = _advice(error.code, "sender and what the server lets this login send")
        return Retry(Reason.SMTP_STATUS, f"{detail}; {advice}", error.code, sink_wide=True)
    return Reject(Reason.SMTP_STATUS, detail, error.code)


def _refused_tls(error: ssl.SSLError, place: str) -> Retry:
    """Return the outcome of a TLS fault. A refused certificate needs a person; another fault may pass."""
    detail = f"{place}: TLS failed: {error.reason or 'the certificate was refused'}"
    return Retry(Reason.TLS, detail, sink_wide=isinstance(error, ssl.SSLCertVerificationError))


def _advice(code: int, otherwise: str) -> str:
    match code:
        case 530:
            return "it wants a login or encryption first: check username, password and security"
        case 534 | 535 | 538:
            return "check username, password and security"
        case _:
            return f"check {otherwise}"


def _is_too_big(code: int, message: str) -> bool:
    enhanced = _enhanced(message)
    return enhanced in _TOO_BIG_ENHANCED or (code in _TOO_BIG and enhanced in (None, "5.0.0"))


def _enhanced(message: str) -> str | None:
    """Return the enhanced status code (RFC 3463) at the beginning of an answer's text."""
    match = _ENHANCED.match(message)
    return match[1] if match else None
