"""The button [Evidence] of a service request and of a message: the file that `gateway evidence export` writes, as a download."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.control.evidence_files import NoEvidence, WhyNone
from gateway.web.pages.asking import Asked, CannotAnswer, Control, Elsewhere, EvidenceDownload, NotThere

STATUSES: Mapping[WhyNone, int] = {
    "no_messages": 404,
    "log_gone": 404,
    "too_many_messages": 409,
    "no_log": 409,
    "log_unreadable": 503,
    "evidence_busy": 503,
}
"""The status of HTTP for each reason why there is no file."""
_FIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,79}")
_UNFIT = re.compile(r"[^A-Za-z0-9-]+")


async def request_evidence(control: Control, asked: Asked) -> EvidenceDownload:
    """Begin the file about all messages of a service request."""
    name = asked.names[0]
    found = await control.requests.find(name) if name.strip() else None
    known = next((one for one in found.requests if one.sr_uuid == name), None) if found is not None else None
    if known is None:
        raise NotThere(name)
    return await _evidence(control, name, known.reference_id)


async def message_evidence(control: Control, asked: Asked) -> EvidenceDownload | Elsewhere:
    """Begin the file about one message. An id that stands for several leads to their list, as the page of the message does."""
    name = asked.names[0]
    if not name.strip():
        raise NotThere(name)
    try:
        found = await control.browse.message(name)
    except ValueError:
        return Elsewhere("/messages", {"id": name})
    if found is None:
        raise NotThere(name)
    return await _evidence(control, found.shown.story.ids.id, None)


async def _evidence(control: Control, name: str, called: str | None) -> EvidenceDownload:
    """Begin a file.

    Args:
        name: the id that it is about.
        called: the name that people have for it.
    """
    try:
        export = await control.evidence.begin(name)
    except NoEvidence as error:
        raise CannotAnswer(error.why, STATUSES[error.why], error.detail) from None
    return EvidenceDownload(export, f"{_file_name(called, name)}.evidence.jsonl")


def _file_name(*names: str | None) -> str:
    """Return the first name that is fit for a file as it stands; if none is, the last one with hyphens for what is unfit."""
    fit = next((name for name in names if name is not None and _FIT.fullmatch(name)), None)
    return fit or _UNFIT.sub("-", names[-1] or "").strip("-")[:80] or "request"
