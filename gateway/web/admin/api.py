"""`/api/...`: what people ask of the running gateway, from the commands of this package or from scripts. Maps JSON both ways."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct, structs

from gateway.control.acts import Acts
from gateway.control.browse import Browse
from gateway.control.database_jobs import DatabaseJobs
from gateway.control.drills import Drill
from gateway.control.evidence import Evidence
from gateway.control.ids import Unknown
from gateway.control.interventions import Act
from gateway.control.redecode import Redecode, RedecodeAct
from gateway.control.reverify import Reverify, UnknownSource
from gateway.control.sampling import Sample
from gateway.control.status import SelfReport
from gateway.control.stories import Requests
from gateway.core.errors import BackupFailed, StoreCorrupt, StoreError
from gateway.core.events import Milestone
from gateway.core.ledger import FLAG_WORDS, Flag
from gateway.core.request_documents import RequestSelection
from gateway.core.selection import Selection, Target
from gateway.core.users import Visitor
from gateway.reconcile.reconciler import CannotReconcile, Reconciler, UnknownRequest
from gateway.web.admin import inputs, json_documents
from gateway.web.admin.request_json import found_json, place_json, read_place, request_json, story_of_request_json
from gateway.web.door.discretion import attempts_for, request_story_for, status_for, story_for
from gateway.web.door.permissions import segments
from gateway.web.responses import json_response

_WINDOW = ("since", "until", "after", "limit")
"""The parameters that every list takes."""


class _Reverification(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `reverify`: a source; None means all of them."""

    source: str | None = None
    actor: str = ""


class _Reconciliation(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `reconcile`: service requests, and whether all open ones are meant, too."""

    ids: list[str] = []
    open: bool = False
    actor: str = ""


class _Switch(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `pause`, `resume`, `probe` and `cancel`."""

    actor: str = ""


class _BackupTarget(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `backup`: an absolute path."""

    file: str
    actor: str = ""


class Api:
    """Answers requests below `/api/`."""

    def __init__(
        self,
        *,
        browse: Browse,
        acts: Acts,
        self_report: SelfReport,
        database_jobs: DatabaseJobs,
        reverify: Reverify,
        requests: Requests,
        evidence: Evidence,
        redecode: Redecode,
        reconciler: Reconciler,
    ) -> None:
        self._browse = browse
        self._acts = acts
        self._self_report = self_report
        self._database_jobs = database_jobs
        self._reverify = reverify
        self._requests = requests
        self._evidence = evidence
        self._redecode = redecode
        self._reconciler = reconciler

    async def handle(self, request: web.BaseRequest, visitor: Visitor) -> web.Response:
        """Answer one request below `/api/` of a visitor who may make it. A mistake of the caller is a 400 that names it."""
        try:
            path = segments(request)[1:]
            match request.method, path:
                case "GET", ["status"]:
                    inputs.query(request)
                    return json_response(200, status_for(visitor, await self._self_report.status()))
                case "GET", ["messages"]:
                    return await self._messages(request)
                case "GET", ["messages", text]:
                    inputs.query(request)
                    stories, more = await self._browse.show(text)
                    shown = [json_documents.story_json(story_for(visitor, story)) for story in stories]
                    return json_response(200, {"messages": shown, "more": more})
                case "GET", ["messages", text, "attempts", sink]:
                    given = inputs.query(request, "after", "limit")
                    begin = inputs.number(given, "after") or 0
                    page, after = await self._browse.attempts(text, sink, begin, inputs.limit(given))
                    return json_response(
                        200, {"attempts": json_documents.attempts_json(attempts_for(visitor, page)), "after": after}
                    )
                case "GET", ["messages", text, "evidence"]:
                    inputs.query(request)
                    return json_response(200, json_documents.evidence_json(await self._evidence.message(text)))
                case "GET", ["deliveries"]:
                    return await self._deliveries(request)
                case "GET", ["srs"]:
                    return await self._list_requests(request)
                case "GET", ["srs", name]:
                    return await self._request(request, visitor, name)
                case "GET", ["sinks"]:
                    inputs.query(request)
                    return json_response(200, {"sinks": [json_documents.sink_json(one) for one in await self._browse.sinks()]})
                case "GET", ["routing"]:
                    given = inputs.query(request, "since", "after")
                    since = inputs.seconds(given, "since") or 0.0
                    routed = await self._browse.routing(since, inputs.number(given, "after"))
                    return json_response(200, json_documents.routing_json(routed))
                case "GET", ["reconcile"]:
                    inputs.query(request)
                    return json_response(200, {"jobs": [self._reconciler.facts(job) for job in self._reconciler.jobs.all()]})
                case "GET", ["reconcile", number]:
                    return self._reconciliation(request, number)
                case "POST", _:
                    inputs.query(request)
                    if (answer := await self._act(request, visitor, path)) is not None:
                        return answer
        except (Unknown, UnknownSource) as error:
            return json_response(404, {"error": "not_found", "detail": str(error), "known": error.known})
        except UnknownRequest as error:
            return json_response(404, {"error": "not_found", "detail": str(error)})
        except CannotReconcile as error:
            return json_response(409, {"error": "cannot_reconcile", "detail": str(error)})
        except KeyError as error:
            return json_response(404, {"error": "not_found", "detail": f"there is no {error.args[0]}"})
        except BackupFailed as error:
            return json_response(409, {"error": error.code, "detail": str(error)})
        except StoreError as error:
            code = "store_corrupt" if isinstance(error, StoreCorrupt) else error.code
            return json_response(503, {"error": code, "detail": str(error)})
        except inputs.MISTAKES as error:
            return inputs.refusal(error)
        return json_response(404, {"error": "not_found", "detail": "there is no such page"})

    async def _act(self, request: web.BaseRequest, visitor: Visitor, path: list[str]) -> web.Response | None:
        """Do what a request asks for. Return None if there is no such act."""
        match path:
            case ["replay"]:
                return json_response(200, await self._acts.interventions.replay(await _with_actor(request, visitor, Act)))
            case ["discard"]:
                return json_response(200, await self._acts.interventions.discard(await _with_actor(request, visitor, Act)))
            case ["drill"]:
                drilled = await self._acts.drills.run(await _with_actor(request, visitor, Drill))
                return json_response(200, {"drills": [json_documents.drill_json(one) for one in drilled]})
            case ["backup"]:
                target: _BackupTarget = await _with_actor(request, visitor, _BackupTarget)
                waits = partial(_waits, request)
                return json_response(200, await self._database_jobs.backup(_file(target.file), waits, target.actor))
            case ["check"]:
                await inputs.body(request, inputs.NoFields, optional=True)
                return json_response(200, await self._database_jobs.check(partial(_waits, request)))
            case ["seal"]:
                await inputs.body(request, inputs.NoFields, optional=True)
                return json_response(200, json_documents.seal_json(await self._evidence.seal()))
            case ["reverify"]:
                which: _Reverification = await _with_actor(request, visitor, _Reverification)
                return json_response(200, {"sources": await self._reverify.reverify(which.source, which.actor)})
            case ["redecode"]:
                return json_response(200, await self._redecode.redecode(await _with_actor(request, visitor, RedecodeAct)))
            case ["reconcile"]:
                asked: _Reconciliation = await _with_actor(request, visitor, _Reconciliation)
                return json_response(200, await self._reconciler.begin(asked.ids, open_requests=asked.open, actor=asked.actor))
            case ["reconcile", number, "cancel"]:
                ended: _Switch = await _with_actor(request, visitor, _Switch, optional=True)
                job = self._reconciler.cancel(inputs.number({"number": number}, "number") or 0, ended.actor)
                return json_response(200, self._reconciler.facts(job))
            case ["sinks", name, "pause" | "resume" as act]:
                switch: _Switch = await _with_actor(request, visitor, _Switch, optional=True)
                changed = await (self._acts.interventions.pause if act == "pause" else self._acts.interventions.resume)(
                    name, switch.actor
                )
                return json_response(200, {"sink": name, "paused": act == "pause", "changed": changed})
            case ["sinks", name, "probe"]:
                probe: _Switch = await _with_actor(request, visitor, _Switch, optional=True)
                return json_response(200, {"sink": name, "changed": await self._acts.interventions.probe(name, probe.actor)})
            case ["sample"]:
                receipt = await self._acts.sampling.send(await _with_actor(request, visitor, Sample, optional=True))
                return json_response(200, {"message_id": receipt.id, "status": receipt.status})
        return None

    def _reconciliation(self, request: web.BaseRequest, number: str) -> web.Response:
        """Answer a job with a page of its findings. More may follow until the job is over."""
        given = inputs.query(request, "after", "limit")
        begin, limit = inputs.number(given, "after") or 0, inputs.limit(given)
        job = self._reconciler.jobs.get(inputs.number({"number": number}, "number") or 0)
        page = job.findings[begin : begin + limit]
        end = begin + len(page)
        after = None if job.over and end >= len(job.findings) else end
        return json_response(200, {"job": self._reconciler.facts(job), "requests": page, "after": after})

    async def _list_requests(self, request: web.BaseRequest) -> web.Response:
        given = inputs.query(request, "milestone", "flag", "source", "stalled", "since", "until", "after", "limit")
        selection = RequestSelection(
            milestones=tuple(map(Milestone, inputs.words(given, "milestone", tuple(Milestone)))),
            flag=_flags(inputs.words(given, "flag", FLAG_WORDS)),
            source=given.get("source"),
            stalled=inputs.flag(given, "stalled"),
            since=inputs.seconds(given, "since"),
            until=inputs.seconds(given, "until"),
        )
        begin = read_place(given["after"]) if "after" in given else None
        page, after = await self._requests.list(selection, begin, inputs.limit(given))
        return json_response(200, {"requests": [request_json(one) for one in page], "after": place_json(after)})

    async def _request(self, request: web.BaseRequest, visitor: Visitor, name: str) -> web.Response:
        """Answer the requests that a name stands for, with the story if that is one."""
        given = inputs.query(request, "source", "before", "limit", "sinks", "bodies")
        found = await self._requests.find(name, given.get("source"))
        story = None
        if len(found.requests) == 1:
            sinks = given["sinks"].split(",") if "sinks" in given else []
            number, limit = found.requests[0].number, inputs.limit(given)
            story = await self._requests.story(number, inputs.number(given, "before"), limit, sinks)
        bodies = inputs.flag(given, "bodies")
        shown = None if story is None else story_of_request_json(request_story_for(visitor, story), bodies=bodies)
        return json_response(200, {**found_json(found), "story": shown})

    async def _messages(self, request: web.BaseRequest) -> web.Response:
        given = inputs.query(request, "id", "status", *_WINDOW)
        page, after = await self._browse.messages(_selection(given), inputs.number(given, "after") or 0, inputs.limit(given))
        return json_response(200, {"messages": [json_documents.message_json(one) for one in page], "after": after})

    async def _deliveries(self, request: web.BaseRequest) -> web.Response:
        given = inputs.query(request, "id", "state", "sink", *_WINDOW)
        seq, _, sink = given.get("after", "0.").partition(".")
        begin = Target(inputs.number({"after": seq}, "after") or 0, sink)
        page, after = await self._browse.deliveries(_selection(given), begin, inputs.limit(given))
        listed = [json_documents.delivery_json(one) for one in page]
        return json_response(200, {"deliveries": listed, "after": f"{after.seq}.{after.sink}" if after else None})


async def _with_actor(request: web.BaseRequest, visitor: Visitor, kind: Any, *, optional: bool = False) -> Any:
    """Return the act that a request asks for, in the name of the visitor."""
    act = await inputs.body(request, kind, optional=optional)
    return structs.replace(act, actor=inputs.actor(visitor, act.actor))


def _file(text: str) -> Path:
    """Return an absolute path. Raises ValueError."""
    file = Path(inputs.path(text))
    if not file.is_absolute():
        raise ValueError('"file" is an absolute path on the host of the gateway')
    return file


def _flags(words: Sequence[str]) -> Flag | None:
    """Return the flags that a request must have all of; None if none is named."""
    return functools.reduce(operator.or_, (Flag[word.upper()] for word in words)) if words else None


def _waits(request: web.BaseRequest) -> bool:
    """Return True while the caller waits for the answer."""
    return request.transport is not None and not request.transport.is_closing()


def _selection(given: dict[str, str]) -> Selection:
    """Return the selection that the parameters of a list describe. Raises ValueError."""
    known = {name: value for name, value in given.items() if name in Selection.__struct_fields__}
    times = {name: inputs.seconds(given, name) for name in ("since", "until")}
    return msgspec.convert(known | times, Selection)
