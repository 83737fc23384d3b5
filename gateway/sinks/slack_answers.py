"""What an answer of Slack means: of an incoming webhook, which answers in words, and of the API, whose errors come in a 200."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry

if TYPE_CHECKING:  # it brings aiohttp, which a command that sends nothing need not wait for
    from gateway.sinks.transport import Answer

_TOKEN = "make a new token on the app's page, and put it where token points"
_HOOK = "make a new webhook on the app's page, and put it where webhook_url points"
_CHANNEL = "check channel: an id such as C0123 is best, and a private one needs the bot as a member"
_ARCHIVED = "name another channel, or unarchive it"
_ALLOWED = "ask an administrator of the workspace to let the app post there"
_FINAL = {
    "invalid_auth": _TOKEN,
    "not_authed": _TOKEN,
    "account_inactive": _TOKEN,
    "token_revoked": _TOKEN,
    "token_expired": _TOKEN,
    "not_allowed_token_type": "a bot's token is needed, which begins with xoxb-",
    "missing_scope": "give the app the scope chat:write, and install it again",
    "channel_not_found": _CHANNEL,
    "not_in_channel": "invite the bot: /invite it in that channel",
    "is_archived": _ARCHIVED,
    "channel_is_archived": _ARCHIVED,
    "restricted_action": _ALLOWED,
    "action_prohibited": _ALLOWED,
    "posting_to_general_channel_denied": _ALLOWED,
    "team_access_not_granted": _ALLOWED,
    "no_permission": _ALLOWED,
    "no_service": _HOOK,
    "no_active_hooks": _HOOK,
    "invalid_token": _HOOK,
    "no_team": _HOOK,
    "team_disabled": _HOOK,
    "user_not_found": _HOOK,
}
"""Errors that no later attempt mends, and what a person has to do (docs.slack.dev, chat.postMessage and incoming webhooks)."""
_GONE = ("message_not_found", "thread_not_found", "cannot_reply_to_message")
_LIMITS = ("ratelimited", "rate_limited")
_RATE_SECONDS = 30.0
"""Where it does not say for how long."""
_CODE = re.compile(r"[a-z][a-z0-9_]{1,63}")
_TS = re.compile(rb'"ts"\s*:\s*"([0-9]+\.[0-9]+)"')
_PLACE = re.compile(rb'"channel"\s*:\s*"([A-Z0-9]+)"')
_OK = re.compile(rb'\s*\{\s*"ok"\s*:\s*true\b')


class Posted(Struct, frozen=True):
    """The API has taken a message."""

    channel: str | None
    """Its id; None where it could not be read."""
    ts: str | None
    status: int


class Gone(Struct, frozen=True):
    """The message that it was about is not there any more."""

    outcome: Retry


class _Said(Struct, frozen=True):
    ok: bool
    error: str | None = None
    channel: str | None = None
    ts: str | None = None


def of_webhook(answer: Answer | Retry, now: float) -> Outcome:
    """Args: now: Unix seconds, UTC."""
    if isinstance(answer, Retry):
        return answer
    said, outcome = _read(answer.body), answer.outcome(now)
    if isinstance(outcome, Delivered) and (said is None or said.ok):
        return outcome
    code = said.error if said is not None else answer.body[:100].decode("utf-8", "replace").strip()
    refused = _refusal(answer, code, now, outcome)
    return refused.outcome if isinstance(refused, Gone) else refused


def of_api(answer: Answer | Retry, now: float) -> Posted | Gone | Defer | Reject | Retry:
    """Args: now: Unix seconds, UTC."""
    if isinstance(answer, Retry):
        return answer
    said, outcome = _read(answer.body), answer.outcome(now)
    if isinstance(outcome, Delivered):
        if said is not None and said.ok:
            return Posted(said.channel, said.ts, answer.status)
        if _OK.match(answer.body):  # it repeats the whole message, and only the beginning of an answer is read
            ts, place = _TS.search(answer.body), _PLACE.search(answer.body)
            return Posted(place[1].decode() if place else None, ts[1].decode() if ts else None, answer.status)
        if said is None:
            return Retry(Reason.PROTOCOL, "the answer is none of Slack's API; check api", answer.status)
    return _refusal(answer, said.error if said is not None else None, now, outcome)


def _refusal(answer: Answer, code: str | None, now: float, outcome: Outcome) -> Gone | Defer | Reject | Retry:
    """Args: outcome: what the status alone means."""
    code = code if code is not None and _CODE.fullmatch(code) else None  # else it may hold anything
    said = f"Slack says {code}" if code else "Slack says that it is not ok"
    if code in _FINAL:
        return Reject(Reason.REJECTED, f"{said}: {_FINAL[code]}", answer.status, answer.excerpt)
    if code in _LIMITS and not isinstance(outcome, Defer):
        from gateway.sinks.transport import seconds_after

        after = seconds_after(answer.retry_after, now)
        return Defer(Reason.RATE_LIMITED, _RATE_SECONDS if after is None else after, said, answer.status)
    if code in _GONE:
        return Gone(Retry(Reason.REJECTED, said, answer.status))
    if isinstance(outcome, Delivered):
        return Retry(Reason.REJECTED, said, answer.status, answer.excerpt)
    if isinstance(outcome, Retry) and code:
        return msgspec.structs.replace(outcome, detail=f"{outcome.detail}: {said}")
    return outcome


def _read(body: bytes) -> _Said | None:
    try:
        return msgspec.json.decode(body, type=_Said)
    except (ValueError, RecursionError):
        return None
