"""The meaning of Slack's answers: an incoming webhook answers in words, and the API reports its errors with status 200."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.sinks.slack.error_codes import PLACE_GONE, remedy_of, scope_of
from gateway.sinks.text.language import one_line

if TYPE_CHECKING:  # a command that sends nothing need not wait for its import
    from gateway.sinks.net.http_client import Answer

_RATE_SECONDS = 30.0
"""Seconds to wait if Slack limits the rate and does not say for how long."""
_CODE = re.compile(r"[a-z][a-z0-9_]{1,63}")
_TS = re.compile(rb'"ts"\s*:\s*"([0-9]+\.[0-9]+)"')
_PLACE = re.compile(rb'"channel"\s*:\s*"([A-Z0-9]+)"')
_OK = re.compile(rb'\s*\{\s*"ok"\s*:\s*true\b')
_OK_TEXT = b"ok"
"""The whole answer of a webhook that has taken a message (docs.slack.dev, "Sending messages using incoming webhooks")."""


class Posted(Struct, frozen=True):
    """The API has taken a message."""

    channel: str | None
    """The id of the channel; None if it could not be read."""
    ts: str
    status: int
    thread_ts: str | None = None
    """The thread that the message stands in."""
    whole: bool = True
    """True if the whole answer could be read, so that a missing key has a meaning."""


class Gone(Struct, frozen=True):
    """The earlier message that the call was about does not exist any more, or its channel is closed."""

    outcome: Retry


class Unfit(Struct, frozen=True):
    """Slack refuses this message as it is, and may take it as plain text."""

    outcome: Reject
    code: str


Answered = Posted | Gone | Unfit | Defer | Retry


class _Message(Struct, frozen=True):
    thread_ts: str | None = None


class _Said(Struct, frozen=True):
    ok: bool
    error: str | None = None
    channel: str | None = None
    ts: str | None = None
    message: _Message | None = None
    team: str | None = None
    user: str | None = None


def of_webhook(answer: Answer | Retry, now: float) -> Delivered | Unfit | Defer | Retry:
    """Return the meaning of a webhook's answer.

    Args:
        now: Unix seconds, UTC.
    """
    if isinstance(answer, Retry):
        return answer
    outcome, words = answer.outcome(now), answer.body.strip()
    if answer.status == 200 and words == _OK_TEXT:
        return Delivered(200)
    said = _read(answer.body)
    code = said.error if said is not None else words[:100].decode("utf-8", "replace")
    if isinstance(outcome, Delivered) and (said is None or said.ok) and scope_of(code) == "unknown":
        return Retry(
            Reason.PROTOCOL, "the answer is not the ok of a Slack webhook; check webhook_url", answer.status, answer.excerpt
        )
    refused = _refusal(answer, code, now, outcome)
    return refused.outcome if isinstance(refused, Gone) else refused


def of_api(answer: Answer | Retry, now: float, *, in_thread: bool = False) -> Answered:
    """Return the meaning of an answer of the API.

    Args:
        now: Unix seconds, UTC.
        in_thread: the call was about an earlier message, so that a closed channel concerns that message.
    """
    if isinstance(answer, Retry):
        return answer
    said, outcome = _read(answer.body), answer.outcome(now)
    if isinstance(outcome, Delivered) and (posted := _posted(answer, said)) is not None:
        return posted
    if isinstance(outcome, Delivered) and (said is None or said.ok):
        return Retry(Reason.PROTOCOL, "the answer is not one of Slack's API; check api", answer.status, answer.excerpt)
    return _refusal(answer, said.error if said is not None else None, now, outcome, in_thread=in_thread)


def of_auth_test(answer: Answer | Retry, now: float) -> tuple[bool, str]:
    """Return whether Slack accepts the token, and as whom or why not.

    Args:
        now: Unix seconds, UTC.
    """
    if isinstance(answer, Retry):
        return False, f"auth.test: {answer.detail}"
    said, outcome = _read(answer.body), answer.outcome(now)
    if isinstance(outcome, Delivered) and said is not None and said.ok:
        return True, f"token accepted as {one_line(said.user) or 'a bot'} of {one_line(said.team) or 'a workspace'}"
    if isinstance(outcome, Delivered) and said is None:
        return False, "auth.test: the answer is not one of Slack's API; check api"
    refused = _refusal(answer, said.error if said is not None else None, now, outcome)
    why = refused.outcome if isinstance(refused, Gone | Unfit) else refused
    return False, f"auth.test: {why.detail}"


def _posted(answer: Answer, said: _Said | None) -> Posted | None:
    """Return the message that Slack says it has taken; None if it does not say so or does not name the message."""
    if said is not None:
        if not said.ok or said.ts is None:
            return None
        return Posted(said.channel, said.ts, answer.status, said.message.thread_ts if said.message else None)
    if not _OK.match(answer.body) or (ts := _TS.search(answer.body)) is None:
        return None
    place = _PLACE.search(answer.body)  # only the beginning of an answer is read, and Slack repeats the whole message in it
    return Posted(place[1].decode() if place else None, ts[1].decode(), answer.status, whole=False)


def _refusal(
    answer: Answer, code: str | None, now: float, outcome: Outcome, *, in_thread: bool = False
) -> Gone | Unfit | Defer | Retry:
    """Return the meaning of an answer that took nothing.

    Args:
        outcome: the meaning of the status alone.
    """
    code = code if code is not None and _CODE.fullmatch(code) else None  # any other text could hold anything
    said = f"Slack says {code}" if code else "Slack says that it is not ok"
    scope = scope_of(code)
    if code is not None and (scope == "thread" or (in_thread and code in PLACE_GONE)):
        return Gone(Retry(Reason.REJECTED, said, answer.status))
    if code is not None and scope == "sink":
        return Retry(Reason.REJECTED, f"{said}: {remedy_of(code)}", answer.status, answer.excerpt, sink_wide=True)
    if code is not None and scope == "message":
        return Unfit(Reject(Reason.REJECTED, said, answer.status, answer.excerpt), code)
    if isinstance(outcome, Defer):
        return outcome
    if scope == "rate":
        from gateway.sinks.net.http_client import seconds_after

        after = seconds_after(answer.retry_after, now)
        return Defer(Reason.RATE_LIMITED, _RATE_SECONDS if after is None else after, said, answer.status)
    if isinstance(outcome, Retry):
        return msgspec.structs.replace(outcome, detail=f"{outcome.detail}: {said}") if code else outcome
    return Retry(Reason.REJECTED, said, answer.status, answer.excerpt)


def _read(body: bytes) -> _Said | None:
    try:
        return msgspec.json.decode(body, type=_Said)
    except (ValueError, RecursionError):
        return None
