"""Roles: every request of the API with every role, and no body in any answer to `support`."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.users import Role
from gateway.web.door.permissions import API_PERMITS, Permit
from gateway.web.pages.page import Page
from gateway.web.pages.page_table import PAGES
from tests.docs.reading import ROOT, marked, rows, text_of, words
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import event, new_id, signed

TOKENS = {role.value: f"a-token-for-{role.value}-4711" for role in Role}
CANARY = "canary-gqzwvx"
"""A text that only bodies have. It has no digits: groups of dead deliveries leave them out of the answers that they quote."""
SR = "b16c763b-0000-4000-8000-000000000001"

ACTS: dict[str, dict[str, Any]] = {
    "/api/replay": {"selection": {"sink": "erp", "state": "dead"}, "dry_run": True},
    "/api/discard": {"selection": {"sink": "erp", "state": "dead"}, "dry_run": True},
    "/api/drill": {"sink": "erp"},
    "/api/redecode": {"since": 0.0, "dry_run": True},
    "/api/reconcile": {"ids": [SR]},
    "/api/backup": {"file": "/nowhere/copy.db"},
}
"""The body of each act; the others take `{}`."""


class Echo(Receiver):
    """A receiver that refuses everything, and quotes what it was sent."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        await super().answer(request)
        return web.Response(status=500, body=b"cannot take " + body)


class World(NamedTuple):
    running: Running
    message_id: str


class Said(NamedTuple):
    status: int
    headers: bytes
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    users = "".join(f'[admin.users.{name}]\ntoken = {{ env = "{name.upper()}" }}\nrole = "{name}"\n' for name in TOKENS)
    rules = (
        '[[routes]]\nname = "by the note"\nmatch = { note = "nobody" }\nsinks = ["desk"]\n'
        f'[[routes]]\nname = "unless the note"\nunless = {{ note = {{ prefix = "{CANARY[:6]}" }} }}\nsinks = ["desk"]\n'
        '[[routes]]\nname = "by the type"\nmatch = { event_type = "invalidate_sr" }\nsinks = ["desk"]\n'
    )
    desk = '[sinks.desk]\ntype = "jsonl"\npath = "desk.jsonl"\n'
    secrets = {name.upper(): token for name, token in TOKENS.items()}
    folder = tmp_path_factory.mktemp("roles")
    with Echo() as echo:
        toml = f'[admin]\nlisten = ["127.0.0.1:0"]\n{users}'
        toml += http_sink(echo, more='retry = ["0s"]\nbreaker = { failures = 1000 }')
        secrets["ADMIN_TOKEN"] = TOKENS["support"]
        with Running(folder, toml + desk + route("erp") + rules, secrets) as running, no_traceback(running):
            yield World(running, asyncio.run(fill(running)))


async def fill(running: Running) -> str:
    """Send messages whose bodies have the canary in every place, and return the id of the first."""
    values = {"note": CANARY} | json.loads(event(SR)) | {CANARY: {CANARY: [CANARY]}}
    first, again = json.dumps(values).encode(), json.dumps(values | {"more": CANARY}).encode()
    sender_id = new_id()
    for body in (first, again):
        await running.post(body, signed(body, sender_id))
    for body in (f'"{CANARY}"'.encode(), json.dumps({"sides": CANARY, "event_type": "media_rejected", "sr_uuid": SR}).encode()):
        await running.post(body, signed(body))
    await running.post(first, [("svix-id", "x"), ("svix-timestamp", "1"), ("svix-signature", "v1,AAAA")])
    await until(lambda: len(running.audit("delivery.dead")) >= 2)
    message_id: str = running.audit("message.accepted")[0]["message_id"]
    return message_id


def ask(world: World, user: str, method: str, path: str, body: dict[str, Any] | None = None, *, accept: str = "*/*") -> Said:
    address = world.running.addresses["admin"]
    assert isinstance(address, tuple)
    with closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as connection:
        headers = {"Authorization": f"Bearer {TOKENS[user]}", "Content-Type": "application/json", "Accept": accept}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return Said(answer.status, str(answer.getheaders()).encode(), answer.read())


def path_of(permit: Permit, world: World) -> str:
    """A path that the permit is about."""
    parts = permit.path.split("/")
    named = {"messages": world.message_id, "attempts": "erp", "srs": SR, "sinks": "desk", "reconcile": "1"}
    return "/".join(named[parts[at - 1]] if part == "*" else part for at, part in enumerate(parts))


def tells(said: Said) -> bool:
    """True if an answer has any part of a body, as text, as JSON or in base64."""
    encoded = [base64.b64encode(b"." * skipped + CANARY.encode())[4 if skipped else 0 : -4] for skipped in range(3)]
    return any(text in said.headers + said.body for text in (CANARY.encode(), *encoded))


@pytest.mark.parametrize("permit", API_PERMITS, ids=lambda permit: f"{permit.method} {permit.path}")
def test_a_request_is_answered_to_the_roles_that_may_make_it_and_refused_to_all_others(world: World, permit: Permit) -> None:
    path = path_of(permit, world)
    body = ACTS.get(path, {}) if permit.method == "POST" else None
    if path == "/-/reload":
        path += "?dry_run=1"
    for role in Role:
        said = ask(world, role.value, permit.method, path, body)
        may = role.includes(permit.role)
        assert (said.status == 403) is not may, said
        if not may:
            assert f"this needs the role {permit.role}, and {role.value} has the role {role}".encode() in said.body
            assert world.running.audit(actor=role.value) == [], "nothing was done"
        assert role.includes(Role.READ) or not tells(said), said


@pytest.mark.parametrize("permit", [one for one in API_PERMITS if one.with_parameter], ids=lambda permit: permit.path)
def test_a_parameter_can_need_more_than_its_request(world: World, permit: Permit) -> None:
    for name, needed in permit.with_parameter.items():
        for value in ("1", "0", ""):
            for role in Role:
                said = ask(world, role.value, "GET", f"{path_of(permit, world)}?{name}={value}")
                assert (said.status == 403) is not role.includes(needed), said


def test_read_and_operate_see_the_bodies_that_support_does_not(world: World) -> None:
    """Otherwise the other tests would find no canary because there is none."""
    shown = {
        path: [tells(ask(world, role.value, "GET", path)) for role in Role]
        for path in (
            f"/api/messages/{world.message_id}",
            f"/api/messages/{world.message_id}/attempts/erp",
            f"/api/messages/{world.message_id}/evidence",
            f"/api/srs/{SR}",
            f"/api/srs/{SR}?bodies=1",
            "/sinks/erp.json",
            "/dead.json",
            "/dead",
            "/api/routing",
        )
    }
    assert shown == {path: [False, True, True] for path in shown}


async def test_support_is_told_why_the_newest_delivery_died_without_the_answer_which_quotes_a_body(world: World) -> None:
    before = len(world.running.audit("delivery.dead"))
    await world.running.post(json.dumps({"note": CANARY} | json.loads(event())).encode())
    await until(lambda: len(world.running.audit("delivery.dead")) > before)
    for path in ("/api/status", "/overview.json", "/", "/sinks/erp.json", "/sinks/erp"):
        assert [tells(ask(world, role.value, "GET", path)) for role in Role] == [False, True, True], path
    status = ask(world, "support", "GET", "/api/status").json()
    (erp,) = [sink for sink in status["sinks"] if sink["sink"] == "erp"]
    assert erp["last_death"] == {"reason": "attempts_exhausted", "detail": "HTTP 500 Internal Server Error", "answer": ""}
    assert "dead (the newest: HTTP 500 Internal Server Error): look why" in str(status["attention"])


def test_support_sees_what_the_ledger_has_and_why_a_sink_was_not_told_as_far_as_the_ledger_says_it(world: World) -> None:
    story = ask(world, "support", "GET", f"/api/srs/{SR}").json()["story"]
    (missing,) = next(one["not_told"] for one in story["events"] if one["message_id"] == world.message_id)
    reasons = {one["route"]: one["reason"] for one in missing["now"]["reasons"]}
    assert reasons["by the note"] == 'note: expected "nobody", is something else'
    assert reasons["unless the note"] == 'unless: {"note": {"prefix": "canary"}} matches'
    assert "invalidate_sr" in reasons["by the type"]
    (shown,) = ask(world, "support", "GET", f"/api/messages/{world.message_id}").json()["messages"]
    assert shown["body"] is None and [one["body"] for one in shown["conflicts"]] == [None]
    attempts = [attempt for delivery in shown["deliveries"] for attempt in delivery["attempts"]]
    assert {(one["status"], one["reason"], one["answer"]) for one in attempts} == {(500, "http_status", "")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_and_no_twin_of_one_shows_a_body_to_support_and_a_page_is_refused_to_who_may_not_see_it(
    world: World, page: Page
) -> None:
    names = {"sr_uuid": SR, "id": world.message_id, "name": "erp", "number": "1"}
    for path in (page.path, page.twin):
        for query in ("", *(f"?{asked}" for asked in QUESTIONS if asked.partition("=")[0] in page.query)):
            for role in Role:
                said = ask(world, role.value, "GET", path.format_map(names) + query, accept="text/html")
                assert (said.status == 403) is not role.includes(page.role), said
                assert role.includes(Role.READ) or not tells(said), said


QUESTIONS = (f"q={CANARY[:6]}", f"q={SR}", "raw=1", "sink=erp", "sample=authentic")
"""Queries that let a page show more, if it takes their parameter."""
SEGMENTS = sorted({part for permit in API_PERMITS for part in permit.path.split("/") if part not in ("", "*")})
NAMES = ["bodies", "id", "limit", "after", "since", "source", "state", "sink", "status", "sinks", "before", "milestone", "format"]


@given(
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    parts=st.lists(
        st.sampled_from([*SEGMENTS, "MESSAGE", SR, "erp", "desk", "1", "%62odies", "raw", ""]), min_size=1, max_size=5
    ),
    query=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["1", "0", "true", "erp", SR, "dead"])), max_size=2),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_that_support_can_think_of_is_answered_with_a_body(
    world: World, method: str, parts: list[str], query: list[tuple[str, str]]
) -> None:
    path = "/" + "/".join(world.message_id if part == "MESSAGE" else part for part in parts)
    said = ask(world, "support", method, f"{path}?{'&'.join(f'{name}={value}' for name, value in query)}")
    assert not tells(said) and said.status < 500
    assert method != "POST" or said.status in (400, 403, 404, 405)


def test_every_request_that_the_reference_names_has_a_least_role_and_every_role_is_in_the_reference() -> None:
    described = {}
    for row in rows(marked(text_of(ROOT / "docs/reference.md"), "requests")):
        named, (role,) = words(row[0]), words(row[1])
        method, _, path = named[0].partition(" ")
        described[method, path] = role
        for other in named[1:]:
            described[method, path.rpartition("/")[0] + other.removeprefix("...")] = role
    plain = {
        (method, "/".join("*" if part.isupper() else part for part in path.split("/"))): role
        for (method, path), role in described.items()
    }
    assert plain == {(permit.method, permit.path): permit.role for permit in API_PERMITS}
