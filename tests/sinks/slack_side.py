"""The part of Slack that the gateway speaks to: the API on loopback, with slack-sdk's models as the judge of each message."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from slack_sdk.models.blocks import Block

from tests.sinks.http_server import Heard, HttpServer, answer

TOKEN = "xoxb-1-2-token-3Rf8-never-shown"
CHANNEL = "C0123ABCD"


def judged(message: dict[str, Any]) -> dict[str, Any]:
    """Return the message if it keeps every documented limit of Slack, by slack-sdk's validators and by the other documents."""
    assert 1 <= len(message["text"]) <= 40_000
    if not (blocks := message.get("blocks")):
        return message  # plain text
    parsed = Block.parse_all(blocks)
    assert [block.to_dict() for block in parsed] == blocks, "slack-sdk knows each key, and finds each within its limits"
    assert 1 <= len(blocks) <= 50
    for text in texts(blocks):
        assert 1 <= units(text["text"]) <= 3000
    for block in blocks:
        if block["type"] == "header":
            assert units(block["text"]["text"]) <= 150
        assert block["type"] != "actions", "a click on a button has to be acknowledged, and nobody here can (button-element)"
        if block["type"] == "context":
            assert len(block["elements"]) <= 10  # reference/block-kit/blocks/context-block
    assert len(json.dumps(blocks, ensure_ascii=False)) <= 13_000, "msg_blocks_too_long, which stands in no document"
    return message


def texts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object with a text, of any type and at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def shown(blocks: list[dict[str, Any]]) -> str:
    """Return roughly the text that a person reads."""
    return "".join(text["text"] + ("" if text["type"] == "text" else "\n") for text in texts(blocks))


class Slack(HttpServer):
    """A workspace with one channel. It remembers messages as Slack does, and refuses what Slack would.

    Each rule names its page, below docs.slack.dev/reference/methods/.
    """

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.messages: dict[str, dict[str, Any]] = {}
        """The messages by ts, in their current form."""
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """The method and body of each call."""
        self.instead: Callable[[str, dict[str, Any]], bytes | None] = lambda method, body: None
        """Answers in place of the workspace, which then does nothing."""
        self.channel = CHANNEL
        """The id of the channel that is called #fraud-desk now."""
        self.archived: set[str] = set()
        """The ids of archived channels."""
        self.lost: Callable[[str], bool] = lambda method: False
        """True for a method that the workspace carries out while its answer is lost: the caller gets a 502."""

    @property
    def api(self) -> str:
        return f"{self.url}/api"

    @property
    def parents(self) -> list[dict[str, Any]]:
        return [message for message in self.messages.values() if "thread_ts" not in message]

    @property
    def replies(self) -> list[dict[str, Any]]:
        return [message for message in self.messages.values() if "thread_ts" in message]

    def _answer(self, heard: Heard) -> bytes:
        method = heard.line.split()[1].decode().rpartition("/")[2]
        body = json.loads(heard.body)
        self.calls.append((method, body))
        assert heard.header("content-type") == "application/json; charset=utf-8"
        if (instead := self.instead(method, body)) is not None:
            return instead
        said = self._do(method, body if method == "auth.test" else judged(body), heard.header("authorization"))
        return answer(502) if self.lost(method) else api(**said)

    def _do(self, method: str, body: dict[str, Any], authorization: str | None) -> dict[str, Any]:
        if authorization != f"Bearer {TOKEN}":
            return {"ok": False, "error": "invalid_auth"}
        if method == "auth.test":
            return {"ok": True, "team": "Acme", "user": "gateway", "team_id": "T1", "user_id": "U1"}
        ids = {CHANNEL, self.channel}
        channel = self.channel if body["channel"] == "#fraud-desk" else body["channel"]
        if channel not in ids or (method == "chat.update" and body["channel"] not in ids):  # an edit takes ids alone
            return {"ok": False, "error": "channel_not_found"}
        assert (body["parse"], body["link_names"]) == ("none", False), "chat.update: parse is client where it is not said"
        if method == "chat.update":
            return self._edit(channel, body)
        assert method == "chat.postMessage"
        if channel in self.archived:
            return {"ok": False, "error": "is_archived"}  # chat.postMessage: errors
        ts = f"1772000000.{len(self.calls):06}"
        kept: dict[str, Any] = {name: body[name] for name in ("text", "blocks", "thread_ts") if name in body}
        if body.get("thread_ts") not in self.messages:
            kept.pop("thread_ts", None)  # chat.postMessage: a reply to what is not there lands at the root, and the answer is ok
        self.messages[ts] = kept
        return {"ok": True, "channel": channel, "ts": ts, "message": {**kept, "bot_id": "B01"}}

    def _edit(self, channel: str, body: dict[str, Any]) -> dict[str, Any]:
        if channel in self.archived:
            return {"ok": False, "error": "is_inactive"}  # chat.update: errors
        if body["ts"] not in self.messages:
            return {"ok": False, "error": "message_not_found"}
        if len(body["text"]) > 4000:
            return {"ok": False, "error": "msg_too_long"}  # chat.update: the limit of text
        self.messages[body["ts"]] |= {"text": body["text"], "blocks": body.get("blocks", [])}
        return {"ok": True, "channel": channel, "ts": body["ts"], "message": {**self.messages[body["ts"]], "bot_id": "B01"}}


def api(status: int = 200, /, retry_after: str | None = None, **said: Any) -> bytes:
    """Make an answer of the API; its JSON is ASCII, as Slack's is."""
    headers = {"content_type": "application/json; charset=utf-8"} | ({"retry_after": retry_after} if retry_after else {})
    return answer(status, json.dumps(said, separators=(",", ":")).encode(), **headers)
