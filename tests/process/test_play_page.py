"""`/play` of a running gateway: requests as they come, what each role sees of them, and a pasted secret that stays in memory."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from gateway.core.users import Role
from gateway.web.pages.live_streams import PLAY_LIVE_PATH
from tests.support.following import following
from tests.support.gateway_process import Running, no_traceback
from tests.support.waiting import PATIENCE
from tests.support.webhooks import event, new_id, signed

TOKENS = {role.value: f"a-token-for-{role.value}-4711" for role in Role}
CANARY = "canary-9f3a77"
OTHER = "whsec_" + "QUJD" * 8
CONFIG = """
[sinks.archive]
type = "jsonl"
path = "events.jsonl"

[[routes]]
name = "counterfeits"
match = { milestone = "counterfeit" }
sinks = ["archive"]
"""


class Said(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    users = "".join(f'[admin.users.{name}]\ntoken = {{ env = "{name.upper()}" }}\nrole = "{name}"\n' for name in TOKENS)
    secrets = {name.upper(): token for name, token in TOKENS.items()} | {"ADMIN_TOKEN": TOKENS["support"]}
    folder = tmp_path_factory.mktemp("play")
    with Running(folder, f'[admin]\nlisten = ["127.0.0.1:0"]\n{users}{CONFIG}', secrets) as running, no_traceback(running):
        yield running


def ask(running: Running, path: str, role: str = "operate", *, form: dict[str, str] | None = None, **headers: str) -> Said:
    address = running.addresses["admin"]
    assert isinstance(address, tuple)
    given = {"Authorization": f"Bearer {TOKENS[role]}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    if form is not None:
        given = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"} | given
    with closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as connection:
        connection.request("GET" if form is None else "POST", path, None if form is None else urlencode(form), given)
        answer = connection.getresponse()
        return Said(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


async def send(running: Running) -> None:
    """Let the gateway take one request and refuse one, both with the canary in their bodies."""
    counterfeit: dict[str, Any] = {"state": {"primary": "COMPLETE", "supplement": "REJECTED"}, "reference_id": "BAG-7"}
    body = event(None, **counterfeit, note=CANARY)
    await running.post(body, [*signed(body), ("Authorization", f"Bearer {CANARY}")])
    await running.post(event(note=CANARY), signed(event(), secret=OTHER))


async def test_what_comes_is_shown_with_its_verdict_its_event_and_its_routes(running: Running) -> None:
    assert ask(running, "/play.json").status == 200
    await send(running)
    refused, accepted = ask(running, "/play.json").json()["requests"][:2]
    assert (accepted["signed"], accepted["status"], accepted["milestone"]) == (True, 200, "counterfeit")
    assert (refused["signed"], refused["status"]) == (False, 401)
    assert [one["kind"] for one in refused["findings"]] == ["no_fit"]
    page = ask(running, f"/play/{accepted['number']}.json").json()
    assert (page["routes"], page["sinks"]) == (["counterfeits"], ["archive"])
    assert CANARY in page["body"] and ["Authorization", "***"] in page["headers"]
    assert page["curl"].startswith("curl ")
    for path in ("/play", f"/play/{accepted['number']}"):
        for language, words in (("en", "signed"), ("ja", "署名")):
            html = ask(running, f"{path}?lang={language}", Accept="text/html")
            assert html.status == 200 and words in html.body.decode() and f'lang="{language}"' in html.body.decode()
            assert "default-src 'none'" in html.headers["content-security-policy"]


async def test_a_caught_event_has_its_facts_as_judged_on_arrival_or_as_they_would_be_now(running: Running) -> None:
    ask(running, "/play.json")
    sr, times = new_id(), [f"2026-03-05T10:{minute}:00Z" for minute in (10, 50, 30)]
    approved = {"primary": "QC", "supplement": "APPROVED"}
    late = event(sr, state=approved, timestamp=times[2])
    await running.post(event(new_id()), signed(event(), secret=OTHER))
    await running.post(event(sr, timestamp=times[0]))
    await running.post(event(sr, state={"primary": "COMPLETE", "supplement": "APPROVED"}, timestamp=times[1]))
    await running.post(late, signed(late, secret=OTHER))
    await running.post(late)
    rows = ask(running, "/play.json").json()["requests"][:5]
    accepted, refused, verdict, first, unknown = (ask(running, f"/play/{row['number']}.json").json() for row in rows)
    assert (accepted["facts_by"], accepted["facts"]["stale"]) == ("arrival", True)
    assert accepted["facts"]["state"] == {"before": "COMPLETE/APPROVED"}
    assert (refused["facts_by"], refused["facts"]["stale"]) == ("now", True)
    assert (verdict["facts_by"], verdict["facts"]["skipped"]) == ("arrival", ["QC/APPROVED"]), "it stays as it was on arrival"
    assert first["facts_by"] == "arrival" and "state" not in first["facts"]
    assert (unknown["facts_by"], unknown["facts"]) == (None, None), "the store does not know its service request"
    for row, words in (
        (rows[0], ("As judged on arrival:", "受信時の判定：")),
        (rows[1], ("As it would be judged now:", "いま届いた場合")),
    ):
        for language, said in zip(("en", "ja"), words, strict=True):
            html = ask(running, f"/play/{row['number']}?lang={language}", Accept="text/html").body.decode()
            assert said in html and ("LATE" if language == "en" else "遅延") in html


async def test_support_sees_no_body_and_no_header_in_any_answer(running: Running) -> None:
    ask(running, "/play.json")
    await send(running)
    number = ask(running, "/play.json").json()["requests"][0]["number"]
    for path in (
        "/play",
        "/play.json",
        f"/play/{number}",
        f"/play/{number}.json",
        f"/play/{number - 1}",
        f"/play/{number - 1}.json",
    ):
        said = ask(running, path, "support", Accept="text/html")
        assert said.status == 200
        assert CANARY.encode() not in said.body + str(said.headers).encode()
    assert ask(running, f"/play/{number}.json", "support").json().keys().isdisjoint({"headers", "body", "curl"})
    assert CANARY in ask(running, f"/play/{number}.json", "read").body.decode()
    assert ask(running, "/play/secret", "support", form={"secret": OTHER}).status == 403


async def test_a_pasted_secret_is_tried_is_shown_nowhere_and_accepts_nothing(running: Running) -> None:
    ask(running, "/play.json")
    body = event()
    await running.post(body, signed(body, secret=OTHER))
    assert ask(running, "/play/secret", "read", form={"secret": "not-a-secret"}).headers["location"] == "/play?wrong=secret"
    assert "whsec_" in ask(running, "/play?wrong=secret", Accept="text/html").body.decode()
    said = ask(running, "/play/secret", "read", form={"secret": OTHER, "lang": "ja"})
    assert (said.status, said.headers["location"]) == (303, "/play?lang=ja")
    listed = ask(running, "/play.json").json()
    assert (listed["pasted"], listed["requests"][0]["detail"]) == (1, "signed by the pasted secret")
    assert (await running.post(body, signed(body, secret=OTHER))).status == 401
    everything = running.stderr().encode() + running.audit_file.read_bytes()
    for path in ("/play", "/play.json", f"/play/{listed['requests'][0]['number']}"):
        everything += ask(running, path, Accept="text/html").body
    assert OTHER.removeprefix("whsec_").encode() not in everything
    assert ask(running, "/play/secret", form={"forget": "1"}).status == 303
    assert ask(running, "/play.json").json()["pasted"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "http://127.0.0.1:1", "Sec_Fetch_Site": "none"},
    ],
    ids=str,
)
async def test_no_other_page_can_paste_a_secret(running: Running, headers: dict[str, str]) -> None:
    assert ask(running, "/play/secret", form={"secret": OTHER}, **headers).status == 403
    assert ask(running, "/play.json").json()["pasted"] == 0


async def test_a_request_that_has_gone_or_never_was_is_named(running: Running) -> None:
    for name in ("999999", "0", "x", "-1", "٣"):
        assert ask(running, f"/play/{name.encode().hex() if not name.isascii() else name}.json").status == 404
    assert ask(running, "/play/secret").status == 405
    assert ask(running, "/play?before=x").status == 400


async def test_a_live_page_looks_and_hears_of_each_request(tmp_path: Path) -> None:
    token = '[admin]\nlisten = ["127.0.0.1:0"]\ntoken = { env = "ADMIN_TOKEN" }\n'
    with Running(tmp_path, token + CONFIG, {"ADMIN_TOKEN": TOKENS["support"]}) as running, no_traceback(running):
        await running.post(event(reference_id="BAG-7"))
        headers = [("Authorization", f"Bearer {TOKENS['support']}")]
        async with following(running, PLAY_LIVE_PATH, headers) as reader, asyncio.timeout(PATIENCE):
            await running.post(event(reference_id="BAG-8"))
            await reader.readuntil(b"event: changed")
        listed = ask(running, "/play.json", "support").json()["requests"]
        assert [one["reference_id"] for one in listed] == ["BAG-8"], "nobody looked when the first one came"


async def test_a_thousand_requests_are_counted_beyond_what_can_be_read(running: Running) -> None:
    ask(running, "/play.json")
    bodies = [event() for _ in range(300)]
    await asyncio.gather(*(running.post(body) for body in bodies))
    listed = ask(running, "/play.json").json()
    shown, counted = len(listed["requests"]), listed["passed_by"] + sum(one["passed_by"] for one in listed["requests"])
    assert shown == 50 and counted > 0
    older = ask(running, f"/play.json?before={listed['before']}").json()["requests"]
    assert older[0]["number"] == listed["before"] - 1
    html = ask(running, "/play?lang=en", Accept="text/html").body.decode()
    assert "only counted" in html
