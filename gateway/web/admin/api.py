"""`/api/...`: the running gateway, for the commands of this package and for scripts. Maps JSON to the operator and back."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web
from msgspec import Struct, structs

from gateway.control.backup import Upkeep
from gateway.control.browse import Browse
from gateway.control.drills import Drill, Drills
from gateway.control.ids import Unknown
from gateway.control.replay import Act, Operator
from gateway.control.reverify import Reverify, UnknownSource
from gateway.control.status import Observer
from gateway.core.errors import BackupFailed, StoreCorrupt, StoreError
from gateway.core.selection import Selection, Target
from gateway.web.admin import asked, json_documents
from gateway.web.responses import json_response

_WINDOW = ("since", "until", "after", "limit")
"""Parameters that every list takes."""


class _Which(Struct, frozen=True, forbid_unknown_fields=True):
    """What is reverified: a source, or all of them."""

    source: str | None = None
    actor: str = "admin"


class _Who(Struct, frozen=True, forbid_unknown_fields=True):
    """A pause, or its end."""

    actor: str = asked.USER


class _Copy(Struct, frozen=True, forbid_unknown_fields=True):
    """A backup."""

    file: str


class _Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """An act that is told nothing."""


class Api:
    def __init__(
        self, browse: Browse, operator: Operator, observer: Observer, drills: Drills, upkeep: Upkeep, reverify: Reverify
    ) -> None:
        self._browse = browse
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
                    asked.query(request)
                    return json_response(200, await self._observer.status())
                case "GET", ["messages"]:
                    return await self._messages(request)
                case "GET", ["messages", text]:
                    asked.query(request)
                    stories, more = await self._browse.show(text)
                    shown = [json_documents.story_json(story) for story in stories]
                    return json_response(200, {"messages": shown, "more": more})
                case "GET", ["messages", text, "attempts", sink]:
                    given = asked.query(request, "after", "limit")
                    begin = asked.number(given, "after") or 0
                    page, after = await self._browse.attempts(text, sink, begin, asked.limit(given))
                    return json_response(200, {"attempts": json_documents.attempts_json(page), "after": after})
                case "GET", ["deliveries"]:
                    return await self._deliveries(request)
                case "GET", ["sinks"]:
                    asked.query(request)
                    return json_response(200, {"sinks": [json_documents.sink_json(one) for one in await self._browse.sinks()]})
                case "GET", ["routing"]:
                    given = asked.query(request, "since", "after")
                    since = asked.seconds(given, "since") or 0.0
                    routed = await self._browse.routing(since, asked.number(given, "after"))
                    return json_response(200, json_documents.routing_json(routed))
                case "POST", _:
                    asked.query(request)
                    if (answer := await self._act(request, path)) is not None:
                        return answer
        except asked.SlowBody as error:
            late = json_response(408, {"error": "timeout", "detail": str(error)})
            late.force_close()
            return late
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

    async def _act(self, request: web.BaseRequest, path: list[str]) -> web.Response | None:
        """Do what a request asks for; None where there is no such act."""
        match path:
            case ["replay"]:
                return json_response(200, await self._operator.replay(await _with_actor(request, Act)))
            case ["discard"]:
                return json_response(200, await self._operator.discard(await _with_actor(request, Act)))
            case ["drill"]:
                return json_response(200, {"drills": await self._drills.run(await _with_actor(request, Drill))})
            case ["backup"]:
                copy: _Copy = await asked.body(request, _Copy)
                return json_response(200, await self._upkeep.backup(_file(copy.file), partial(_waits, request)))
            case ["check"]:
                await asked.body(request, _Nothing, optional=True)
                return json_response(200, await self._upkeep.check(partial(_waits, request)))
            case ["reverify"]:
                which: _Which = await _with_actor(request, _Which)
                return json_response(200, {"sources": await self._reverify.reverify(which.source, which.actor)})
            case ["sinks", name, "pause" | "resume" as act]:
                who: _Who = await _with_actor(request, _Who, optional=True)
                changed = await (self._operator.pause if act == "pause" else self._operator.resume)(name, who.actor)
                return json_response(200, {"sink": name, "paused": act == "pause", "changed": changed})
        return None

    async def _messages(self, request: web.BaseRequest) -> web.Response:
        given = asked.query(request, "id", "status", *_WINDOW)
        page, after = await self._browse.messages(_selection(given), asked.number(given, "after") or 0, asked.limit(given))
        return json_response(200, {"messages": [json_documents.message_json(one) for one in page], "after": after})

    async def _deliveries(self, request: web.BaseRequest) -> web.Response:
        given = asked.query(request, "id", "state", "sink", *_WINDOW)
        seq, _, sink = given.get("after", "0.").partition(".")
        begin = Target(asked.number({"after": seq}, "after") or 0, sink)
        page, after = await self._browse.deliveries(_selection(given), begin, asked.limit(given))
        listed = [json_documents.delivery_json(one) for one in page]
        return json_response(200, {"deliveries": listed, "after": f"{after.seq}.{after.sink}" if after else None})


async def _with_actor(request: web.BaseRequest, kind: Any, *, optional: bool = False) -> Any:
    """The act that a request asks for, in the name of whoever is authenticated."""
    act = await asked.body(request, kind, optional=optional)
    return structs.replace(act, actor=asked.actor(act.actor))


def _file(text: str) -> Path:
    file = Path(asked.path(text))
    if not file.is_absolute():
        raise ValueError('"file" is an absolute path on the host of the gateway')
    return file


def _waits(request: web.BaseRequest) -> bool:
    """Whether somebody still waits for the answer."""
    return request.transport is not None and not request.transport.is_closing()


def _selection(given: dict[str, str]) -> Selection:
    known = {name: value for name, value in given.items() if name in Selection.__struct_fields__}
    times = {name: asked.seconds(given, name) for name in ("since", "until")}
    return msgspec.convert(known | times, Selection)
