"""The scope of each error that Slack documents: it concerns the sink, the message, the thread, or only the moment.

The codes come from the tables of errors of docs.slack.dev/reference/methods/chat.postMessage, /chat.update and /auth.test, and
from docs.slack.dev/messaging/sending-messages-using-incoming-webhooks ("Handling errors"). A code that stands in no table is
never a reason to give a message up: it is retried.
"""

from __future__ import annotations

from typing import Literal

Scope = Literal["sink", "message", "thread", "rate", "unknown"]

_TOKEN = "make a new token on the app's page, and put it where token points"
_HOOK = "make a new webhook on the app's page, and put it where webhook_url points"
_CHANNEL = "check channel: an id such as C0123 is best, and a private one needs the bot as a member"
_ARCHIVED = "name another channel, or unarchive it"
_ALLOWED = "ask an administrator of the workspace to let the app post there"
_MOVING = "the workspace is being moved to an enterprise organization: wait until that is done"

SINK_WIDE = {
    "access_denied": _ALLOWED,
    "accesslimited": "the workspace allows only some networks: ask an administrator to allow this host's address",
    "account_inactive": _TOKEN,
    "action_prohibited": _ALLOWED,
    "as_user_not_supported": "a bot's token is needed, which begins with xoxb-",
    "channel_is_archived": _ARCHIVED,
    "channel_not_found": _CHANNEL,
    "deprecated_endpoint": "Slack has ended this method: update the gateway",
    "ekm_access_denied": "the administrators have suspended posting: ask them",
    "enterprise_is_restricted": "use a token of a workspace, not of the whole organization",
    "external_channel_migrating": "the channel is being moved: wait until that is done",
    "invalid_auth": f"{_TOKEN}; or let this host's address use it",
    "invalid_token": _HOOK,
    "is_archived": _ARCHIVED,
    "is_inactive": _ARCHIVED,
    "message_limit_exceeded": "the workspace sends too many messages: ask an administrator",
    "messages_tab_disabled": "turn on the messages tab of the app, or name a channel",
    "method_deprecated": "Slack has ended this method: update the gateway",
    "missing_scope": "give the app the scope chat:write, and install it again",
    "no_active_hooks": _HOOK,
    "no_permission": "make the bot a member of the channel: /invite it there",
    "no_service": _HOOK,
    "no_service_id": _HOOK,
    "no_team": _HOOK,
    "not_allowed_token_type": "a bot's token is needed, which begins with xoxb-",
    "not_authed": _TOKEN,
    "not_in_channel": "invite the bot: /invite it in that channel",
    "org_login_required": _MOVING,
    "posting_to_general_channel_denied": _ALLOWED,
    "restricted_action": _ALLOWED,
    "team_access_not_granted": _ALLOWED,
    "team_added_to_org": _MOVING,
    "team_disabled": _HOOK,
    "team_not_found": _TOKEN,
    "token_expired": _TOKEN,
    "token_revoked": _TOKEN,
    "two_factor_setup_required": "set up two-factor authentication for the account of the token",
    "user_not_found": _HOOK,
}
"""Errors that every message of the sink would get, and what a person has to do."""
_RESTRICTED = "restricted_action"
"""A family of codes: `restricted_action_read_only_channel`, `..._thread_only_channel` and more."""

_MESSAGE_WIDE = frozenset(
    (
        "attachment_payload_limit_exceeded",
        "block_mismatch",
        "invalid_attachments",
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_metadata_format",
        "invalid_metadata_schema",
        "invalid_payload",
        "markdown_text_conflict",
        "metadata_too_large",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_text",
        "too_many_attachments",
        "too_many_contact_cards",
    )
)
"""Errors of one message alone: it is tried once more as plain text, and then it is dead."""
_THREAD_WIDE = frozenset(("cannot_reply_to_message", "message_not_found", "restricted_action_thread_locked", "thread_not_found"))
"""Errors about an earlier message, which does not exist any more or takes no reply."""
_RATE = frozenset(("ratelimited", "rate_limited"))
PLACE_GONE = frozenset(
    ("channel_is_archived", "channel_not_found", "is_archived", "is_inactive", "not_in_channel", "team_not_found")
)
"""Errors about the channel where a thread began: it is closed, and a new channel may have its name."""


def scope_of(code: str | None) -> Scope:
    """Return the scope of an error. A passing one (`internal_error`, `fatal_error`) and one that no table has are `unknown`."""
    if code is None:
        return "unknown"
    if code in _THREAD_WIDE:
        return "thread"
    if code in SINK_WIDE or code.startswith(f"{_RESTRICTED}_"):
        return "sink"
    if code in _MESSAGE_WIDE:
        return "message"
    return "rate" if code in _RATE else "unknown"


def remedy_of(code: str) -> str:
    """Return what a person has to do about an error of the sink."""
    return SINK_WIDE.get(code, _ALLOWED)
