"""The `slack` sink: a message to an incoming webhook, or, with a bot's token, a thread for each service request.

In a thread every event is a message of its own, and the first message shows what holds now. Everything from a payload stands
where it can ping nobody.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Literal
from weakref import WeakValueDictionary

import msgspec
from msgspec import Struct, structs

from gateway.core.errors import StoreError
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.thread import Thread
from gateway.core.values import Rate, SecretRef
from gateway.sinks import slack_blocks
from gateway.sinks.base import Opening, Outgoing, ReadableSettings, Threads
from gateway.sinks.guard import Guard
from gateway.sinks.language import Language, Telling, labels, tell
from gateway.sinks.slack_answers import Gone, Posted, of_api, of_webhook
from gateway.sinks.templates import Template, escape_slack

_HEADERS = {"content-type": "application/json; charset=utf-8"}
_QUIET = {"mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
"""Nothing in a message becomes markup or a preview on its own."""
_EDIT_SHARE = 3
"""An edit gets this part of the attempt's time at most: what people wait for is the message after it."""
_STORE_SECONDS = 1.0


_Answered = Posted | Gone | Defer | Reject | Retry


class SlackConfig(ReadableSettings, frozen=True, kw_only=True, tag_field="type", tag="slack"):
    webhook_url: SecretRef | None = None
    token: SecretRef | None = None
    """Of a bot with the scope chat:write; used where there is no `webhook_url`."""
    channel: str | None = None
    api: str = "https://slack.com/api"
    concurrency: int = 1
    rate: Rate | None = Rate("1/s")
    ordering: Literal["none", "sr"] | None = None
    """None: "sr" with a token, so that two events of a service request begin one thread; else "none"."""
    allow_networks: list[str] | None = None

    @property
    def by_token(self) -> bool:
        return self.webhook_url is None and self.token is not None

    @property
    def by_sr(self) -> bool:
        return self.ordering == "sr" or (self.ordering is None and self.by_token)


class Words(Struct, frozen=True):
    """What is said about one delivery, as the parts of the messages that say it."""

    telling: Telling
    text: str
    whole: list[slack_blocks.Block]
    reply: list[slack_blocks.Block]
    failed: str
    """Why the built-in template stands in for the operator's file; else ""."""


class Writer:
    """Puts deliveries into words, as the settings of a sink want it."""

    def __init__(self, config: SlackConfig) -> None:
        """Raises ValueError where the template can't be used."""
        self._link = config.link
        self._language = Language(config.locale or "en", config.timezone or "UTC")
        self._template = Template("slack", self._language.locale, config.template)

    def words(self, delivery: Outgoing) -> Words:
        telling, names = tell(delivery, self._language, self._link), labels(self._language.locale)
        rendered = self._template.render(delivery, telling)
        text = slack_blocks.whole_entities(rendered.parts["text"])
        if not text.strip():  # an own template may have nothing to say of an event, and Slack refuses an empty text
            text = escape_slack(telling.headline)
        elif "text" in rendered.own:
            whole = slack_blocks.written(text, telling, names, link=True)
            reply = slack_blocks.written(text, telling, names, link=False)
            return Words(telling, text, whole, reply, rendered.failed)
        return Words(telling, text, slack_blocks.whole(telling, names), slack_blocks.reply(telling, names), rendered.failed)


def render(delivery: Outgoing, config: SlackConfig) -> bytes:
    """The JSON of a message that stands alone, or begins a thread."""
    return first(Writer(config).words(delivery), config.channel if config.by_token else None)


def first(words: Words, channel: str | None) -> bytes:
    to = {} if channel is None else {"channel": channel}
    return _encoded({**to, "text": words.text, "blocks": words.whole, **_QUIET})


def reply(words: Words, thread: Thread) -> bytes:
    return _encoded({"channel": thread.channel, "thread_ts": thread.ts, "text": words.text, "blocks": words.reply, **_QUIET})


def edit(words: Words, thread: Thread) -> bytes:
    """What takes the place of the first message of a thread."""
    return _encoded({"channel": thread.channel, "ts": thread.ts, "text": words.text, "blocks": words.whole})


class SlackSink:
    def __init__(self, config: SlackConfig, opening: Opening) -> None:
        from gateway.sinks.transport import Transport  # and aiohttp: a command that sends nothing need not wait for it

        self._config = config
        self._clock = opening.clock
        self._threads = opening.threads
        self._writer = Writer(config)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By service request: whatever is sent at the same time, one message begins the thread."""
        if config.webhook_url is not None:
            self._url = opening.secret(config.webhook_url).reveal()
            # The host in front is none, and stands in many an answer. By hand: what is no URL is an outcome, and no error here.
            secret = re.sub("^[^/?]*[/?]?", "", self._url.partition("://")[2])
            self._headers = _HEADERS
        else:
            assert config.token is not None, "the configuration is refused without one of the two"
            secret, self._url = opening.secret(config.token).reveal(), config.api.rstrip("/")
            self._headers = {**_HEADERS, "authorization": f"Bearer {secret}"}
        self._transport = Transport(Guard.of(config.allow_networks), config.concurrency, config.timeout, secrets=[secret])

    async def send(self, delivery: Outgoing) -> Outcome:
        words = self._writer.words(delivery)
        outcome = await self._send(delivery, words)
        if words.failed and isinstance(outcome, Delivered):
            detail = f"with the built-in template, since its own failed: {words.failed}"
            return structs.replace(outcome, detail="; ".join(part for part in (outcome.detail, detail) if part))
        return outcome

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _send(self, delivery: Outgoing, words: Words) -> Outcome:
        if not self._config.by_token:
            answer = await self._transport.post(self._url, first(words, None), self._headers)
            return of_webhook(answer, self._clock.now())
        sr = _thread_of(delivery, words.telling)
        if self._threads is None or sr is None:
            return _outcome(await self._call("chat.postMessage", first(words, self._config.channel)))
        async with self._turns.setdefault(sr, asyncio.Lock()):
            return await self._send_in_thread(words, _instant(delivery), self._threads, sr)

    async def _send_in_thread(self, words: Words, at: float, threads: Threads, sr: str) -> Outcome:
        """The edit comes first: done twice it does no harm, so whatever goes wrong after it, all can be done again."""
        channel = self._config.channel or ""
        try:
            thread = await threads.find(channel, sr)
        except StoreError:
            return Defer(Reason.UNAVAILABLE, _STORE_SECONDS, "the database does not say which thread it belongs to")
        note = ""
        if thread is not None and at >= thread.shown_at:
            edited = await self._edit(words, thread)
            if isinstance(edited, Defer | Reject):
                return edited
            if isinstance(edited, Posted):
                thread = structs.replace(thread, shown_at=at)
            elif isinstance(edited, Retry):
                note = f"the first message of the thread shows an older state until the next event: {edited.detail}"
            else:
                thread = None
        if thread is not None:
            said = await self._call("chat.postMessage", reply(words, thread))
            if not isinstance(said, Gone):
                return await self._settled(said, threads, sr, thread, note)
        said = await self._call("chat.postMessage", first(words, channel))
        begun = Thread(said.channel or channel, said.ts, at) if isinstance(said, Posted) and said.ts is not None else None
        return await self._settled(said, threads, sr, begun, "")

    async def _edit(self, words: Words, thread: Thread) -> _Answered:
        try:
            async with asyncio.timeout(self._config.timeout / _EDIT_SHARE):
                return await self._call("chat.update", edit(words, thread))
        except TimeoutError:
            return Retry(Reason.TIMEOUT, "no answer in time")

    async def _settled(self, said: _Answered, threads: Threads, sr: str, thread: Thread | None, note: str) -> Outcome:
        """Remember the thread of a message that was posted: from here on, nothing may have it posted again."""
        outcome = _outcome(said, note)
        if isinstance(outcome, Delivered) and thread is not None:
            try:
                await threads.keep(self._config.channel or "", sr, thread)
            except StoreError:
                return structs.replace(outcome, detail="the database did not take its thread: the next event may begin another")
        return outcome

    async def _call(self, method: str, body: bytes) -> _Answered:
        answer = await self._transport.post(f"{self._url}/{method}", body, self._headers)
        return of_api(answer, self._clock.now())


def _outcome(said: _Answered, note: str = "") -> Outcome:
    match said:
        case Posted(status=status):
            return Delivered(status, note)
        case Gone(outcome=outcome):
            return outcome
        case _:
            return said


def _thread_of(delivery: Outgoing, telling: Telling) -> str | None:
    """The service request in whose thread it belongs; None: it stands alone, as what the gateway says of itself does."""
    if delivery.event is None or telling.notice or delivery.drill:
        return None
    return delivery.event.sr_uuid or None


def _instant(delivery: Outgoing) -> float:
    """When it happened, in Unix seconds, UTC; when it came, where it does not say."""
    at = delivery.event.instant() if delivery.event is not None else None
    return delivery.received_at if at is None else at


def _encoded(message: dict[str, Any]) -> bytes:
    return msgspec.json.encode(message)
