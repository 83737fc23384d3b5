"""`/messages/ID`: one message with all that is known of it: how it came, what it says, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from gateway.control.browse import ShownMessage
from gateway.core.users import Role
from gateway.web.admin.json_documents import attempts_json, story_json
from gateway.web.door.discretion import attempts_for, story_for
from gateway.web.pages.asking import Asked, Control, Download, Elsewhere, NotAllowed, NotThere
from gateway.web.pages.shown_text import ShownText
from gateway.web.pages.views.laid_out import laid_out
from gateway.web.pages.views.parameters_read import number, switched_on

_ATTEMPTS = 50
_UNFIT = re.compile(r"[^A-Za-z0-9.-]+")


class AttemptsShown(Struct, frozen=True):
    """A page of all attempts at one delivery."""

    sink: str
    attempts: Sequence[dict[str, Any]]
    after: int | None
    """The attempt after which the next page begins; None after the last one."""


class MessagePage(Struct, frozen=True):
    """One message."""

    message: dict[str, Any]
    size: int
    """Bytes of its body."""
    attempts: AttemptsShown | None
    """All attempts at the delivery that the URL names; None if it names none."""
    not_told: Sequence[str]
    """The sinks of the configuration that have no delivery of it."""
    payload: ShownText | UnsetType | None = UNSET
    """The body for people; None if the visitor may not see it. The twin has the body itself."""

    def last(self, delivery: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a delivery with its last attempt, as the macros about deliveries take it."""
        attempts = delivery["attempts"]
        failed = attempts[-1] if attempts and attempts[-1]["outcome"] != "delivered" else None
        return {**delivery, "last": failed}

    @property
    def sent_before(self) -> float | None:
        """Seconds between the sender's signature and the arrival; None if it is not signed."""
        return self.message.get("sent_before")


async def one_message(control: Control, asked: Asked) -> MessagePage | Download | Elsewhere:
    """Find the message with this id. Several with one id, such as that of a service request, are listed."""
    name = asked.names[0]
    if not name.strip():
        raise NotThere(name)
    try:
        found = await control.browse.message(name)
    except ValueError:
        return Elsewhere("/messages", {"id": name})
    if found is None:
        raise NotThere(name)
    if switched_on(asked, "raw"):
        return _raw(asked, found)
    story = story_for(asked.visitor, found.shown)
    message = story_json(story)
    if message["message_id"] != name:
        return Elsewhere(f"/messages/{message['message_id']}")
    signed = found.shown.story.signed
    message["sent_before"] = None if signed is None else round(found.shown.story.received_at - int(signed.timestamp), 3)
    message["hindsight"] = await control.requests.hindsight(found.shown.story.ids, found.seq)
    told = {one["sink"] for one in message["deliveries"]}
    missing = [name for name in control.config().sinks if name not in told]
    shown = UNSET if asked.as_data else await laid_out(message["body"])
    return MessagePage(message, len(found.body), await _attempts(control, asked, name, told), missing, shown)


async def _attempts(control: Control, asked: Asked, name: str, told: set[str]) -> AttemptsShown | None:
    if (sink := asked.given("sink")) is None:
        return None
    if sink not in told:
        raise NotThere(sink)
    page, after = await control.browse.attempts(name, sink, number(asked, "after") or 0, _ATTEMPTS)
    return AttemptsShown(sink, attempts_json(attempts_for(asked.visitor, page)), after)


def _raw(asked: Asked, found: ShownMessage) -> Download:
    if not asked.visitor.sees_bodies:
        raise NotAllowed(Role.READ)
    kind = "json" if "json" in (found.shown.story.content_type or "") else "bin"
    return Download(found.body, f"{_UNFIT.sub('-', found.shown.story.ids.id)}.{kind}")
