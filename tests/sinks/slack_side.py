"""Slack as far as the gateway speaks to it: the API on loopback, and slack-sdk's models as the judge of what it takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from slack_sdk.models.blocks import Block

from tests.sinks.parts import Heard, HttpServer, answer

TOKEN = "xoxb-1-2-token-3Rf8-never-shown"
CHANNEL = "C0123ABCD"


def judged(message: dict[str, Any]) -> dict[str, Any]:
    """The message, once all that Slack documents of it is so: by slack-sdk's own validators, and by the rest of the documents."""
    blocks = message["blocks"]
    parsed = Block.parse_all(blocks)
    assert [block.to_dict() for block in parsed] == blocks, "slack-sdk knows each key, and finds each within its limits"
    assert 1 <= len(blocks) <= 50
    assert 1 <= len(message["text"]) <= 40_000
    for text in texts(blocks):
        assert 1 <= units(text["text"]) <= 3000
    for block in blocks:
        if block["type"] == "header":
            assert units(block["text"]["text"]) <= 150
        if block["type"] == "actions":
            (button,) = block["elements"]
            assert units(button["text"]["text"]) <= 75
            assert units(button["url"]) <= 3000
    assert len(json.dumps(blocks, ensure_ascii=False)) <= 13_000, "msg_blocks_too_long, which stands in no document"
    return message


def texts(value: Any) -> Iterator[dict[str, Any]]:
    """Every object with a text, of whatever type, at any depth."""
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
    """What a person reads, roughly."""
    return "".join(text["text"] + ("" if text["type"] == "text" else "\n") for text in texts(blocks))


class Slack(HttpServer):
    """A workspace with one channel. It remembers messages as Slack does, and refuses what Slack would."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.messages: dict[str, dict[str, Any]] = {}
        """By ts, as they are now."""
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """Method and body."""
        self.instead: Callable[[str, dict[str, Any]], bytes | None] = lambda method, body: None
        """Answers in place of the workspace, which did nothing then."""
        self.lost: Callable[[str], bool] = lambda method: False
        """The workspace does what it is told, and its answer is a 502."""

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
        said = self._do(method, judged(body), heard.header("authorization"))
        return answer(502) if self.lost(method) else api(**said)

    def _do(self, method: str, body: dict[str, Any], authorization: str | None) -> dict[str, Any]:
        if authorization != f"Bearer {TOKEN}":
            return {"ok": False, "error": "invalid_auth"}
        if body["channel"] not in (CHANNEL, "#fraud-desk"):
            return {"ok": False, "error": "channel_not_found"}
        if method == "chat.update":
            if body["channel"] != CHANNEL:
                return {"ok": False, "error": "channel_not_found"}  # it takes ids alone
            if body["ts"] not in self.messages:
                return {"ok": False, "error": "message_not_found"}
            ts = body["ts"]
            self.messages[ts] = {**self.messages[ts], "text": body["text"], "blocks": body["blocks"]}
        else:
            assert method == "chat.postMessage"
            ts = f"1772000000.{len(self.calls):06}"
            self.messages[ts] = {name: body[name] for name in ("text", "blocks", "thread_ts") if name in body}
        return {"ok": True, "channel": CHANNEL, "ts": ts, "message": {**self.messages[ts], "bot_id": "B01"}}


def api(status: int = 200, /, retry_after: str | None = None, **said: Any) -> bytes:
    """An answer of the API; like Slack's, its JSON is ASCII."""
    headers = {"content_type": "application/json; charset=utf-8"} | ({"retry_after": retry_after} if retry_after else {})
    return answer(status, json.dumps(said, separators=(",", ":")).encode(), **headers)
