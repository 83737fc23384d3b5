"""Pictures of caught requests for people: the verdict on the signature, the event, the answer, and texts without secrets."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType

from gateway.core import events
from gateway.core.caught_requests import CaughtRequest
from gateway.core.masking import Mask
from gateway.core.signature import TOLERANCE
from gateway.core.signature_findings import SignatureFinding, SignatureFindings, Suspect, examine
from gateway.core.values import rfc3339

_LONGEST_ANSWER = 1000
"""Characters of an answer that are shown."""
_LONGEST_NAME = 300
"""Characters of an id or a type that are shown."""
_OF_A_CONNECTION = frozenset(
    (
        *(b"host", b"content-length", b"connection", b"keep-alive", b"transfer-encoding", b"expect", b"te", b"trailer"),
        *(b"upgrade", b"proxy-connection", b"accept-encoding"),
    )
)
"""Headers that curl makes by itself, or that would change how it reads the answer."""
UNREADABLE = {
    "the body was not kept": "not_kept",
    "the body is empty": "empty",
    "the body is not JSON": "not_json",
    "the body is JSON, but not an object": "no_object",
}
"""The reasons why there is no event in a body, each with its word."""
_DRAWING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd]")
"""Characters that a terminal or a shell would not take as they are: such a body is written as base64."""


class ForwardedPicture(Struct, frozen=True):
    """The result of a request at the local server."""

    status: int | None
    """The status of the answer; None if there was none."""
    duration_ms: float
    detail: str


class RequestPicture(Struct, frozen=True, kw_only=True):
    """One request without its headers and its body. It is a line of `gateway play --json`, and a row of the page."""

    number: int
    time: str
    """The arrival, RFC 3339."""
    method: str
    path: str
    """The path with its query, in which credentials are hidden."""
    source: str | None
    length: int
    """Bytes of the body."""
    signed: bool | None
    """The signature is right, and so is its time; None if it could not be checked."""
    findings: Sequence[SignatureFinding]
    """Everything that is known of the signature."""
    detail: str
    """The findings in words."""
    event_type: str | None = None
    milestone: str | None = None
    sr_uuid: str | None = None
    reference_id: str | None = None
    unreadable: str | None = None
    """Why there is no event in the body; None if there is one."""
    status: int | None = None
    """The status that the sender got; None while it waits."""
    answer: str | None = None
    """The beginning of the answer."""
    message_id: str | None = None
    """The gateway's id of the message, if the gateway has taken it."""
    forwarded: ForwardedPicture | None = None
    unreadable_kind: str | None = None
    """The same as a word: `not_kept`, `empty`, `not_json` or `no_object`."""
    passed_by: int = 0
    """How many requests before this one were only counted, because too many came at once."""


class RequestDetails(Struct, frozen=True):
    """A request with its headers, and with its body if the visitor may see it."""

    request: RequestPicture
    headers: Sequence[tuple[str, str]] | UnsetType = UNSET
    body: str | UnsetType | None = UNSET
    """The body as text, with U+FFFD for bytes that are not UTF-8; None if it was not kept."""
    curl: str | UnsetType = UNSET
    """The command that sends the request again."""


class Painter:
    """Makes pictures of requests, by the secrets that may have signed them."""

    def __init__(self, suspects: Sequence[Suspect], *, tolerance: float = TOLERANCE, secrets: Sequence[str] = ()) -> None:
        """
        Args:
            tolerance: seconds that a timestamp may be away.
            secrets: further texts that no picture may show.
        """
        self._suspects = suspects
        self._tolerance = tolerance
        self.mask = Mask([*(suspect.secret.reveal() for suspect in suspects), *secrets])

    def findings(self, request: CaughtRequest) -> SignatureFindings:
        """Return what is known of the signature of a request."""
        return examine(request.headers, request.body, self._suspects, request.at, self._tolerance)

    def picture(self, request: CaughtRequest) -> RequestPicture:
        """Return a request as a row. It costs a hash of the body at least."""
        findings = self.findings(request)
        decoded = events.decode(request.body) if request.body else None
        event = decoded if isinstance(decoded, events.Event) else None
        unreadable = _unreadable(request, decoded)
        forwarded, answered = request.forwarded, request.answered
        return RequestPicture(
            number=request.number,
            time=rfc3339(request.at),
            method=request.method,
            path=self.mask.target(request.target),
            source=request.source,
            length=request.length,
            signed=findings.signed,
            findings=findings.found,
            detail=findings.words,
            event_type=self._name(None if event is None else event.event_type),
            milestone=None if event is None else event.milestone.value,
            sr_uuid=self._name(None if event is None else event.sr_uuid),
            reference_id=self._name(None if event is None else event.reference_id),
            unreadable=unreadable,
            unreadable_kind=None if unreadable is None else UNREADABLE.get(unreadable, "not_json"),
            status=None if answered is None else answered.status,
            answer=None if answered is None else self._answer(answered.body),
            message_id=None if answered is None or answered.status != 200 else _message_id(answered.body),
            forwarded=None
            if forwarded is None
            else ForwardedPicture(forwarded.status, round(forwarded.seconds * 1000, 1), self.mask.text(forwarded.detail)),
            passed_by=request.passed_by,
        )

    def details(self, request: CaughtRequest, base: str) -> RequestDetails:
        """Return a request with its headers, its body, and the command that sends it again.

        Args:
            base: scheme, host and port of the place that the command sends to.
        """
        return RequestDetails(
            self.picture(request), self.mask.headers(request.headers), self.body(request), self.curl(request, base)
        )

    def body(self, request: CaughtRequest) -> str | None:
        """Return the body as text without secrets; None if it was not kept."""
        return None if request.body is None else self.mask.text(request.body.decode("utf-8", "replace"))

    def curl(self, request: CaughtRequest, base: str) -> str:
        """Return a shell command that sends a request again. Credentials in it are hidden, and have to be filled in."""
        words = ["curl", "-i", "-X", request.method, base + self.mask.target(request.target)]
        for name, value in request.headers:
            if name.lower() not in _OF_A_CONNECTION:
                shown, text = name.decode("utf-8", "replace"), value.decode("utf-8", "replace")
                words += ["-H", f"{shown}: {self.mask.header(shown, text)}"]
        body = self.body(request)
        if not body:
            return shlex.join(words)
        if _DRAWING.search(body) is None and request.body is not None and _is_text(request.body):
            return shlex.join([*words, "--data-binary", body] if not body.startswith("@") else [*words, "--data-raw", body])
        encoded = base64.b64encode(body.encode() if _is_text(request.body or b"") else request.body or b"").decode()
        return f"echo {encoded} | base64 -d | {shlex.join([*words, '--data-binary', '@-'])}"

    def _answer(self, body: bytes) -> str:
        return _cut(self.mask.text(body.decode("utf-8", "replace")), _LONGEST_ANSWER)

    def _name(self, text: str | None) -> str | None:
        return None if text is None else _cut(self.mask.text(text), _LONGEST_NAME)


def _unreadable(request: CaughtRequest, decoded: events.Event | events.Undecodable | None) -> str | None:
    if request.body is None:
        return "the body was not kept"
    if not request.body:
        return "the body is empty"
    return decoded.detail if isinstance(decoded, events.Undecodable) else None


def _message_id(answer: bytes) -> str | None:
    """Return the id in an answer of the gateway."""
    try:
        said = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    found = said.get("id") if isinstance(said, dict) else None
    return found if isinstance(found, str) else None


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
