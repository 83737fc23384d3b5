"""The `slack` sink: messages to an incoming webhook, or with a bot's token a thread for each service request.

In a thread every event is a message of its own, and the first message shows the current state.
"""

from __future__ import annotations

import asyncio
import re
from weakref import WeakValueDictionary

from msgspec import structs

from gateway.core.conversation import Conversation
from gateway.core.errors import StoreError
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Retry
from gateway.sinks.base import Conversations, Deadline, Opening, Outgoing
from gateway.sinks.net.address_guard import AddressGuard
from gateway.sinks.slack.answers import Answered, Gone, Posted, Unfit, of_api, of_auth_test, of_webhook
from gateway.sinks.slack.config import SlackConfig
from gateway.sinks.slack.posts import DeliveryWords, Writer, edit, first, plain, reply
from gateway.sinks.text.language import Telling

_HEADERS = {"content-type": "application/json; charset=utf-8"}
_EDIT_SHARE = 3
"""An edit gets at most this fraction of the attempt's time, because people wait for the message after it."""
_STORE_SECONDS = 1.0
_MOST_ANSWER = 256 * 1024
"""Bytes. Slack repeats the whole message, with six bytes for each letter beyond ASCII, before it names the thread."""


class SlackSink:
    def __init__(self, config: SlackConfig, opening: Opening) -> None:
        from gateway.sinks.net.http_client import Transport  # a command that sends nothing need not wait for these imports
        from gateway.sinks.net.proxy import configured

        self._config = config
        self._clock = opening.clock
        self._conversations = opening.conversations
        self._writer = Writer(config)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """A lock for each service request, so that one message begins its thread even if several are sent at the same time."""
        if config.webhook_url is not None:
            self._url = opening.secret(config.webhook_url).reveal()
            # The secret is the part after the host, since many answers repeat the host. A regular expression finds it, because a
            # text that is not a URL must become an outcome later, not an error here.
            secret = re.sub("^[^/?]*[/?]?", "", self._url.partition("://")[2])
            self._headers = _HEADERS
        else:
            assert config.token is not None, "the configuration is refused without one of the two"
            secret, self._url = opening.secret(config.token).reveal(), config.api.rstrip("/")
            self._headers = {**_HEADERS, "authorization": f"Bearer {secret}"}
        guard = AddressGuard.of(config.allow_networks)
        self._transport = Transport(
            guard,
            config.concurrency,
            config.timeout,
            secrets=[secret],
            most_answer=_MOST_ANSWER,
            proxy=configured(config.proxy, opening),
        )

    async def send(self, delivery: Outgoing) -> Outcome:
        words, deadline = self._writer.words(delivery), Deadline(self._config.timeout)
        outcome = await self._send(delivery, words, deadline)
        if words.failed and isinstance(outcome, Delivered):
            detail = f"with the built-in template, because its own failed: {words.failed}"
            return structs.replace(outcome, detail="; ".join(part for part in (outcome.detail, detail) if part))
        return outcome

    async def check_token(self) -> tuple[bool, str]:
        """Ask `auth.test` whose token it is, which posts nothing (docs.slack.dev/reference/methods/auth.test).

        Return whether Slack accepts the token, and as whom or why not.
        """
        answer = await self._transport.post(f"{self._url}/auth.test", b"{}", self._headers)
        return of_auth_test(answer, self._clock.now())

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _send(self, delivery: Outgoing, words: DeliveryWords, deadline: Deadline) -> Outcome:
        if not self._config.by_token:
            return await self._send_to_webhook(first(words, None), deadline)
        sr = _thread_of(delivery, words.telling)
        if self._conversations is None or sr is None:
            return _outcome(*await self._call("chat.postMessage", first(words, self._config.channel), deadline))
        async with self._turns.setdefault(sr, asyncio.Lock()):
            return await self._send_in_thread(words, _instant(delivery), self._conversations, sr, deadline)

    async def _send_to_webhook(self, body: bytes, deadline: Deadline) -> Outcome:
        said = of_webhook(await self._transport.post(self._url, body, self._headers, deadline), self._clock.now())
        if not isinstance(said, Unfit):
            return said
        again = of_webhook(await self._transport.post(self._url, plain(body), self._headers, deadline), self._clock.now())
        if isinstance(again, Unfit):
            return again.outcome
        return structs.replace(again, detail=_as_plain(said)) if isinstance(again, Delivered) else again

    async def _send_in_thread(
        self, words: DeliveryWords, at: float, conversations: Conversations, sr: str, deadline: Deadline
    ) -> Outcome:
        """Edit the first message, then post the event below it.

        The edit comes first because it does no harm if it is done twice: after any later failure, everything can be done again.
        """
        channel = self._config.channel or ""
        try:
            conversation = await conversations.find(channel, sr)
        except StoreError:
            return Defer(Reason.UNAVAILABLE, _STORE_SECONDS, "the database does not say which thread it belongs to")
        note = ""
        if conversation is not None and at >= conversation.shown_at:
            edited = await self._edit(words, conversation, deadline)
            if isinstance(edited, Defer) or (isinstance(edited, Retry) and edited.sink_wide):
                return edited
            if isinstance(edited, Posted):
                conversation = structs.replace(conversation, shown_at=at)
            elif isinstance(edited, Gone):
                conversation = None
            else:
                why = (edited.outcome if isinstance(edited, Unfit) else edited).detail
                note = f"the first message of the thread shows an older state until the next event: {why}"
        if conversation is not None:
            said, plainly = await self._call("chat.postMessage", reply(words, conversation), deadline, in_thread=True)
            if isinstance(said, Posted) and said.whole and said.thread_ts is None:
                conversation, note = await self._stand_alone(words, said, at, deadline)
            if not isinstance(said, Gone):
                return await self._settled(said, conversations, sr, conversation, "; ".join(filter(None, (plainly, note))))
        said, plainly = await self._call("chat.postMessage", first(words, channel), deadline)
        begun = Conversation(said.channel or channel, said.ts, at) if isinstance(said, Posted) else None
        return await self._settled(said, conversations, sr, begun, plainly)

    async def _stand_alone(self, words: DeliveryWords, said: Posted, at: float, deadline: Deadline) -> tuple[Conversation, str]:
        """Make a reply at the root of the channel the first message of a new thread, so that it names its item.

        Slack puts a reply there if its parent was deleted. It answers ok, and only `message.thread_ts` is missing, which the
        answer to a reply inside its thread has (docs.slack.dev/reference/methods/chat.postMessage).
        """
        conversation = Conversation(said.channel or self._config.channel or "", said.ts, at)
        edited = await self._edit(words, conversation, deadline)
        if isinstance(edited, Posted):
            return conversation, "its thread was deleted: it begins a new one"
        return conversation, "its thread was deleted: it stands alone, and does not name its item"

    async def _edit(self, words: DeliveryWords, conversation: Conversation, deadline: Deadline) -> Answered:
        """Edit within a part of the time that is left: if the lane cut the attempt, a posted message would be posted again."""
        try:
            async with asyncio.timeout(deadline.spare(self._config.timeout / _EDIT_SHARE)):
                return (await self._call("chat.update", edit(words, conversation), deadline, in_thread=True))[0]
        except TimeoutError:
            return Retry(Reason.TIMEOUT, "no answer in time")

    async def _settled(
        self, said: Answered, conversations: Conversations, sr: str, conversation: Conversation | None, note: str
    ) -> Outcome:
        """Remember the thread of a posted message. From here on nothing may cause the message to be posted again."""
        outcome = _outcome(said, note)
        if isinstance(outcome, Delivered) and conversation is not None:
            try:
                await conversations.keep(self._config.channel or "", sr, conversation)
            except StoreError:
                return structs.replace(outcome, detail="the database did not store its thread: the next event may begin another")
        return outcome

    async def _call(self, method: str, body: bytes, deadline: Deadline, *, in_thread: bool = False) -> tuple[Answered, str]:
        """Call a method of the API, and call it again with plain text if Slack refuses the message as it is.

        Return the last answer, and a note if Slack took the plain text.
        """
        said = await self._once(method, body, deadline, in_thread)
        if not isinstance(said, Unfit):
            return said, ""
        again = await self._once(method, plain(body), deadline, in_thread)
        return again, _as_plain(said) if isinstance(again, Posted) else ""

    async def _once(self, method: str, body: bytes, deadline: Deadline, in_thread: bool) -> Answered:
        answer = await self._transport.post(f"{self._url}/{method}", body, self._headers, deadline)
        return of_api(answer, self._clock.now(), in_thread=in_thread)


def _outcome(said: Answered, note: str = "") -> Outcome:
    match said:
        case Posted(status=status):
            return Delivered(status, note)
        case Gone(outcome=outcome) | Unfit(outcome=outcome):
            return outcome
        case _:
            return said


def _as_plain(refused: Unfit) -> str:
    return f"as plain text, since Slack says {refused.code}"


def _thread_of(delivery: Outgoing, telling: Telling) -> str | None:
    """Return the service request whose thread a delivery belongs to; None if it stands alone, as a notice of the gateway does."""
    if delivery.event is None or telling.notice or delivery.drill:
        return None
    return delivery.event.sr_uuid or None


def _instant(delivery: Outgoing) -> float:
    """Return when an event happened, in Unix seconds, UTC, or when it arrived if it does not say; of two events, the later."""
    events = (event for event in (delivery.event, delivery.partner_event) if event is not None)
    instants = [at for event in events if (at := event.instant()) is not None]
    return max(instants, default=delivery.message.received_at)
