"""The JSON of each message that a `slack` sink posts. No text of a payload can ping anybody."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from gateway.core.conversation import Conversation
from gateway.sinks.base import Outgoing
from gateway.sinks.slack import blocks
from gateway.sinks.slack.config import SlackConfig
from gateway.sinks.text.language import Language, Telling, tell
from gateway.sinks.text.templates import Template, TemplateKind, escape_slack
from gateway.sinks.text.wording import labels

_QUIET = {"mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
"""Nothing in a message becomes markup or a preview on its own."""
_AS_WRITTEN = {"parse": "none", "link_names": False}
"""`chat.update` looks for links and names in a text unless it is told not to (docs.slack.dev/reference/methods/chat.update)."""
_MOST_EDITED = 4000
"""Characters of `text` that `chat.update` takes; more is `msg_too_long` (docs.slack.dev/reference/methods/chat.update)."""
_BARE_LINK = re.compile(r"<!?(?:\{%[^%]*%\})*\{\{[-+]?(?!\s*link\s*[-+]?\}\})")
"""Slack markup that begins with a value: `!channel` there would ping everybody (docs.slack.dev, "Formatting message text")."""

TEMPLATES = TemplateKind(
    package="gateway.sinks.slack",
    file="message.jinja",
    parts=(("text", escape_slack),),
    forbidden=(_BARE_LINK, "a value right behind < could ping everybody; write how the link begins: <https://"),
)


class DeliveryWords(Struct, frozen=True):
    """One delivery in words, as the parts of the messages that tell it."""

    telling: Telling
    text: str
    whole: list[blocks.Block]
    reply: list[blocks.Block]
    failed: str
    """Why the built-in template replaces the operator's file; "" if it does not."""


class Writer:
    """Puts deliveries into words, in the language and by the template of one sink."""

    def __init__(self, config: SlackConfig) -> None:
        """Raises ValueError if the template cannot be used."""
        self._link = config.link
        self._marks_late = config.marks_late
        self._language = Language(config.locale or "en", config.timezone or "UTC")
        self._template = Template(TEMPLATES, self._language.locale, config.template)

    def words(self, delivery: Outgoing) -> DeliveryWords:
        names = labels(self._language.locale)
        telling = tell(delivery, self._language, self._link, marks_late=self._marks_late)
        rendered = self._template.render(delivery, telling)
        text = blocks.whole_entities(rendered.parts["text"])
        if not text.strip():  # the operator's template may say nothing, and Slack refuses an empty text
            text = escape_slack(telling.headline)
        elif "text" in rendered.own:
            whole = blocks.written(text, telling, names, link=True)
            reply = blocks.written(text, telling, names, link=False)
            return DeliveryWords(telling, text, whole, reply, rendered.failed)
        return DeliveryWords(telling, text, blocks.whole(telling, names), blocks.reply(telling, names), rendered.failed)


def render(delivery: Outgoing, config: SlackConfig) -> bytes:
    """Return the JSON of a message that stands alone or begins a thread."""
    return first(Writer(config).words(delivery), config.channel if config.by_token else None)


def first(words: DeliveryWords, channel: str | None) -> bytes:
    to = {} if channel is None else {"channel": channel, **_AS_WRITTEN}
    return _encoded({**to, "text": words.text, "blocks": words.whole, **_QUIET})


def reply(words: DeliveryWords, conversation: Conversation) -> bytes:
    to = {"channel": conversation.channel, "thread_ts": conversation.ts, **_AS_WRITTEN}
    return _encoded({**to, "text": words.text, "blocks": words.reply, **_QUIET})


def edit(words: DeliveryWords, conversation: Conversation) -> bytes:
    """Return the message that replaces the first one of a thread, or that makes a reply stand alone."""
    to = {"channel": conversation.channel, "ts": conversation.ts, **_AS_WRITTEN}
    return _encoded({**to, "text": blocks.shortened(words.text, _MOST_EDITED), "blocks": words.whole})


def plain(body: bytes) -> bytes:
    """Return the same message as plain text, short enough for every method: the fallback if Slack refuses the blocks."""
    message = msgspec.json.decode(body)
    text = blocks.shortened(message["text"], _MOST_EDITED)
    cleared: dict[str, Any] = {"blocks": []} if "ts" in message else {}  # an edit without blocks would keep the old ones
    return _encoded({**{key: value for key, value in message.items() if key != "blocks"}, "text": text, **cleared})


def _encoded(message: dict[str, Any]) -> bytes:
    return msgspec.json.encode(message)
