"""`/api/...`: the running gateway, for the commands of this package and for scripts. Maps JSON to the operator and back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web
from msgspec import Struct

from gateway.core.errors import BackupFailed, StoreCorrupt, StoreError
from gateway.engine.drill import Drill, Drills, Unknown
from gateway.engine.observer import Observer
from gateway.engine.operator import Act, Operator, Progress
from gateway.engine.reverify import Reverify, UnknownSource
from gateway.engine.upkeep import Upkeep
from gateway.store.operations import Selection, Target
from gateway.web.connection import json_response

_LARGEST_ACT = 64 * 1024
_MOST_ROWS = 500


class _Which(Struct, frozen=True, forbid_unknown_fields=True):
    """What is reverified: a source, or all of them."""

    source: str | None = None
    actor: str = "admin"


class Api:
    def __init__(self, operator: Operator, observer: Observer, drills: Drills, upkeep: Upkeep, reverify: Reverify) -> None:
        self._operator = operator
        self._observer = observer
        self._drills = drills
        self._upkeep = upkeep
        self._reverify = reverify

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one request below `/api/`; what the caller got wrong is a 400 that says so."""
        try:
            # Split before it is decoded: an id may hold a slash.
            path = [unquote(part) for part in request.raw_path.partition("?")[0].removeprefix("/api/").split("/")]
            match request.method, path:
                case "GET", ["status"]:
                    return json_response(200, await self._observer.status())
                case "GET", ["messages"]:
                    return await self._messages(request.query)
                case "GET", ["messages", text]:
                    stories, more = await self._operator.show(text)
                    return json_response(200, {"messages": stories, "more": more})
                case "GET", ["deliveries"]:
                    return await self._deliveries(request.query)
                case "GET", ["sinks"]:
                    return json_response(200, {"sinks": await self._operator.sinks()})
                case "GET", ["routing"]:
                    after = request.query.get("after")
                    since = float(request.query.get("since", "0"))
                    return json_response(200, await self._operator.routing(since, int(after) if after else None))
                case "POST", ["replay"]:
                    return _progress(await self._operator.replay(await _act(request)))
                case "POST", ["discard"]:
                    return _progress(await self._operator.discard(await _act(request)))
                case "POST", ["drill"]:
                    drill: Drill = await _json(request, Drill)
                    return json_response(200, {"drills": await self._drills.run(drill)})
                case "POST", ["backup"]:
                    asked: dict[str, str] = await _json(request, dict[str, str])
                    return json_response(200, await self._upkeep.backup(_file(asked), partial(_waits, request)))
                case "POST", ["check"]:
                    return json_response(200, await self._upkeep.check(partial(_waits, request)))
                case "POST", ["reverify"]:
                    which: _Which = await _json(request, _Which)
                    return json_response(200, {"sources": await self._reverify.reverify(which.source, which.actor)})
                case "POST", ["sinks", name, "pause" | "resume" as act]:
                    return await self._gate(name, act, (await _json(request, dict[str, str])).get("actor", "admin"))
        except (Unknown, UnknownSource) as error:
            return json_response(404, {"error": "not_found", "detail": str(error), "known": error.known})
        except KeyError as error:
            return json_response(404, {"error": "not_found", "detail": f"there is no {error.args[0]}"})
        except BackupFailed as error:
            return json_response(409, {"error": error.code, "detail": str(error)})
        except StoreError as error:
            code = "store_corrupt" if isinstance(error, StoreCorrupt) else error.code
            return json_response(503, {"error": code, "detail": str(error)})
        except (ValueError, OverflowError, RecursionError) as error:
            return json_response(400, {"error": "bad_request", "detail": str(error)})
        return json_response(404, {"error": "not_found", "detail": "there is no such page"})

    async def _messages(self, query: Mapping[str, str]) -> web.Response:
        page, after = await self._operator.messages(_selection(query), int(query.get("after", "0")), _limit(query))
        return json_response(200, {"messages": page, "after": after})

    async def _deliveries(self, query: Mapping[str, str]) -> web.Response:
        seq, _, sink = query.get("after", "0.").partition(".")
        page, after = await self._operator.deliveries(_selection(query), Target(int(seq), sink), _limit(query))
        return json_response(200, {"deliveries": page, "after": f"{after.seq}.{after.sink}" if after else None})

    async def _gate(self, name: str, act: str, actor: str) -> web.Response:
        changed = await (self._operator.pause if act == "pause" else self._operator.resume)(name, actor)
        return json_response(200, {"sink": name, "paused": act == "pause", "changed": changed})


def _file(asked: dict[str, str]) -> Path:
    file = Path(asked.get("file", ""))
    if not file.is_absolute() or "\0" in str(file):
        raise ValueError('"file" is an absolute path on the host of the gateway')
    return file


def _waits(request: web.BaseRequest) -> bool:
    """Whether somebody still waits for the answer."""
    return request.transport is not None and not request.transport.is_closing()


def _selection(query: Mapping[str, str]) -> Selection:
    known = {name: value for name, value in query.items() if name in Selection.__struct_fields__}
    return msgspec.convert(known, Selection, strict=False)


def _limit(query: Mapping[str, str]) -> int:
    return max(1, min(int(query.get("limit", "100")), _MOST_ROWS))


async def _act(request: web.BaseRequest) -> Act:
    act: Act = await _json(request, Act)
    return act


async def _json(request: web.BaseRequest, kind: Any) -> Any:
    if request.content_length is None or request.content_length > _LARGEST_ACT:
        raise ValueError("the body is JSON of at most 64 KiB, with its length")
    return msgspec.json.decode(await request.read(), type=kind)


def _progress(progress: Progress) -> web.Response:
    return json_response(200, progress)
