"""Legitmark's API is asked at the page of a service request, and each answer is shown there and in the list of acts.

The store, the API on loopback and the templates are real; the clock is the test's, so that a minute takes no time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, get_args

import pytest
import structlog

from gateway.control.act_jobs import ActJobs
from gateway.control.act_list import ActList
from gateway.control.kept_rules import KeptRulesReader
from gateway.control.stories import Requests
from gateway.core.events import Event, decode
from gateway.core.records import message_about
from gateway.core.users import Role
from gateway.core.values import Actor, rfc3339
from gateway.reconcile.inquiries import Inquiries, Standing
from gateway.reconcile.job_list import MOST_JOBS
from gateway.reconcile.ledger_states import LedgerStates
from gateway.reconcile.stored_states import StoredStates
from tests.engine.reconcile_bench import ReconcileBench, reconciling
from tests.fakes import START, FakeClock
from tests.pages.conftest import Asking
from tests.support.fake_legitmark import BROKEN, NO_KEY, NOT_FOUND, TOO_MANY, Reply, error, found
from tests.support.waiting import until
from tests.support.webhooks import event

SR = "b16c763b-1723-455d-ba29-164418044886"
ANOTHER = "1ed24ae2-45d8-47ff-bd07-4efc69cb6bc7"
EARLIER, LATER = rfc3339(START - 600), rfc3339(START + 600)
AGREES = found(SR, "QC", "PENDING", LATER)
DIFFERS = found(SR, "COMPLETE", "APPROVED", LATER)
UNANSWERED = Reply(200, AGREES.body, AGREES.headers, hangs=True)


class World:
    """A gateway that has heard of a request in QC/PENDING, the site that shows it, and the API."""

    def __init__(self, bench: ReconcileBench, site: Callable[..., Asking]) -> None:
        self.bench, self._site = bench, site
        self.asking: asyncio.Task[float | None] | None = None
        """A question that the API leaves without an answer."""
        bench.states = LedgerStates(bench.store, StoredStates(bench.store))
        self.use()

    def use(self, **settings: Any) -> None:
        """Go by these settings of `[reconcile]`, with nothing asked yet."""
        bench = self.bench
        reconciler = bench.another(bench.settings(**settings))
        self.inquiries = Inquiries(reconciler, bench.clock)
        self.jobs = reconciler.jobs
        acts = SimpleNamespace(
            done=ActList(bench.store, under_way=lambda: reconciler.acts_under_way),
            jobs=ActJobs(clock=bench.clock, log=structlog.wrap_logger(bench.log, processors=[])),
        )
        kept = KeptRulesReader(bench.store)
        requests = Requests(store=bench.store, kept=kept, rules=lambda: None, lanes={})
        self.page = self._site(requests=requests, inquiries=self.inquiries, acts=acts, clock=bench.clock)

    async def came(self, sr_uuid: str, source: str = "legitmark") -> None:
        """Take in a webhook about a request."""
        body = event(sr_uuid, state={"primary": "QC", "supplement": "PENDING"}, timestamp=rfc3339(START))
        decoded = decode(body)
        assert isinstance(decoded, Event)
        id = self.bench.clock.new_id()
        message = message_about(decoded, body, message_id=id, source=source, received_at=self.bench.clock.now())
        await self.bench.inbox.put(message, decoded)

    async def fields(self, path: str = f"/sr/{SR}") -> dict[str, str]:
        """The fields of the form of the button."""
        (form,) = buttons(await self.page.html(path))
        return form

    async def press(self, fields: dict[str, str] | None = None) -> str:
        """Send the form, let the reconciler put one question, and return where the browser is led."""
        sending = asyncio.create_task(self.page.send("/act", fields or await self.fields()))
        await until(lambda: self.bench.clock.sleeping or sending.done())
        if UNANSWERED not in self.bench.api.answers[SR]:
            await self.bench.reconciler.step()
            await self.bench.reconciler.step()  # it writes down what came of it
        else:
            self.asking = asyncio.create_task(self.bench.reconciler.step())
            await until(lambda: self.bench.api.asked)
        self.bench.clock.advance(0.9)
        answer = await sending
        assert answer.status == 303, answer.text
        return answer.headers["Location"]

    async def inquiry(self, path: str = f"/sr/{SR}") -> Any:
        return (await self.page.json(path.replace(SR, f"{SR}.json")))["inquiry"]

    async def act(self) -> Any:
        """The newest act in the list."""
        return (await self.page.json("/acts.json"))["acts"][0]


@pytest.fixture
async def world(tmp_path: Path, clock: FakeClock, asking_of: Callable[..., Asking]) -> AsyncIterator[World]:
    async with reconciling(tmp_path, clock) as bench:
        world = World(bench, asking_of)
        await world.came(SR)
        yield world
        if world.asking is not None:
            world.asking.cancel()


def buttons(page: str) -> list[dict[str, str]]:
    """The hidden fields of each form of a page that acts."""
    forms = re.findall(r'<form method="post" action="(?:&#x2f;|/)act[^"]*"[^>]*>(.*?)</form>', page, re.DOTALL)
    return [{n: unescape(v) for n, v in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)} for form in forms]


def words(page: str, within: str = r"<main.*?</main>") -> str:
    (part,) = re.findall(within, page, re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", re.sub(r"</?time[^>]*>", "", part))).split())


class Case(NamedTuple):
    """An answer of the API, how far the reconciler goes, and what people read then."""

    reply: Reply
    facts: dict[str, Any]
    said: str
    said_in_japanese: str
    listed: str
    listed_in_japanese: str
    ends: Callable[[World], object] | None = None
    """Ends the question after the first answer; None lets it go on."""
    emit: bool = False
    whole: bool = False
    """The reconciler works until the question has ended."""


KNEW = {"known_state": "QC/PENDING"}
CASES: dict[Standing, Case] = {
    "asking": Case(
        UNANSWERED,
        {"state": None, "next_at": None},
        "It is being asked.",
        "照会しています。",
        "goes on",
        "照会中",
    ),
    "same": Case(
        AGREES,
        {"state": "QC/PENDING", "updated_at": LATER, **KNEW},
        "It says QC/PENDING, which agrees with what the gateway knows.",
        "API の回答は QC/PENDING で、ゲートウェイの把握する状態と一致します。",
        "the API agrees QC/PENDING",
        "一致 QC/PENDING",
    ),
    "older": Case(
        found(SR, "DRAFT", None, EARLIER),
        {"state": "DRAFT", "updated_at": EARLIER, **KNEW},
        f"It says DRAFT, changed {EARLIER}. The gateway knows something newer, QC/PENDING, so nothing is done.",
        f"API の回答は DRAFT（更新 {EARLIER}）です。ゲートウェイはより新しい QC/PENDING を把握しているため、何もしません。",
        "the API is behind DRAFT",
        "API の回答のほうが古い DRAFT",
    ),
    "confirming": Case(
        DIFFERS,
        {"state": "COMPLETE/APPROVED", "next_at": rfc3339(START + 60).replace(".000", "")},
        f"It says COMPLETE/APPROVED, changed {LATER}. Its answers may come from a cache, so it is asked once more in 59 s",
        f"API の回答は COMPLETE/APPROVED（更新 {LATER}）です。キャッシュの可能性があるため、59 秒後にもう一度照会してから",
        "goes on",
        "照会中",
    ),
    "differs": Case(
        DIFFERS,
        {"state": "COMPLETE/APPROVED", **KNEW},
        f"It says COMPLETE/APPROVED, changed {LATER}; the gateway knew QC/PENDING. The routes are told once that it differs.",
        f"API の回答は COMPLETE/APPROVED（更新 {LATER}）ですが、ゲートウェイの把握では QC/PENDING でした。",
        "the API differs COMPLETE/APPROVED",
        "不一致 COMPLETE/APPROVED",
        whole=True,
    ),
    "emitted": Case(
        DIFFERS,
        {"state": "COMPLETE/APPROVED", **KNEW},
        "The routes are told once that it differs, and get an event with the state of the API.",
        "不一致を通知先に一度だけ知らせ、API の状態のイベントを送ります。",
        "the API differs; the routes got its state COMPLETE/APPROVED",
        "不一致（API の状態を通知先に送信） COMPLETE/APPROVED",
        emit=True,
        whole=True,
    ),
    "not_found": Case(
        NOT_FOUND,
        {"state": None, "detail": "", **KNEW},
        "It knows no such service request (404).",
        "このサービスリクエストは先方に存在しません（404）。",
        "not known there",
        "先方に存在しない",
    ),
    "waiting": Case(
        TOO_MANY,
        {"state": None},
        "The gateway waits, and asks in 0 s: HTTP 429 Too Many Requests",
        "待機中です。次の照会は0 秒後： HTTP 429 “Too Many Requests”",
        "goes on",
        "照会中",
    ),
    "failed": Case(
        BROKEN,
        {"state": None},
        "It gave no usable answer: HTTP 500 Internal Server Error",
        "有効な回答がありませんでした： HTTP 500 “Internal Server Error”",
        "no usable answer HTTP 500 Internal Server Error",
        "有効な回答なし HTTP 500 “Internal Server Error”",
        whole=True,
    ),
    "refused": Case(
        NO_KEY,
        {"state": None},
        "It refuses the key, which needs a person: the API refused the key (HTTP 401 Unauthorized",
        "API がキーを拒否しました。人の対応が必要です： API がキーを拒否しました（HTTP 401 Unauthorized",
        "the key was refused",
        "キーを拒否された",
    ),
    "cancelled": Case(
        DIFFERS,
        {"detail": "ended by bob"},
        "There was no answer yet when a person ended this: ended by bob",
        "回答の前に、人が中止しました： bob が中止",
        "ended by a person",
        "人が中止",
        ends=lambda world: world.bench.reconciler.cancel(1, "bob"),
    ),
    "unconfigured": Case(
        DIFFERS,
        {},
        "There was no answer yet when a reload took it out of the configuration.",
        "回答の前に、再読み込みで設定から削除されました。",
        "taken out of the configuration",
        "設定から削除",
        ends=lambda world: world.bench.reconciler.use(None),
    ),
    "gateway_stopped": Case(
        DIFFERS,
        {},
        "There was no answer yet when the gateway stopped.",
        "回答の前に、ゲートウェイが停止しました。",
        "the gateway stopped",
        "ゲートウェイが停止",
        ends=lambda world: world.bench.reconciler.stop(),
    ),
}


def test_there_is_a_case_for_each_standing() -> None:
    assert set(CASES) == set(get_args(Standing))


@pytest.mark.parametrize("standing", CASES)
async def test_each_answer_is_shown_in_both_languages_and_as_data_and_in_the_list_of_acts(
    world: World, standing: Standing
) -> None:
    case = CASES[standing]
    world.use(emit=case.emit)
    world.bench.api.says(SR, case.reply)
    assert await world.press() == f"/sr/{SR}"
    if case.ends is not None:
        case.ends(world)
        await world.bench.reconciler.step()
    if case.whole:
        await world.bench.work()
    inquiry = await world.inquiry()
    assert (inquiry["standing"], inquiry["actor"], inquiry["claimed"]) == (standing, "ann", None)
    assert {name: inquiry[name] for name in case.facts} == case.facts
    goes_on = standing in ("asking", "waiting", "confirming")
    assert (inquiry["ended_at"] is None) == goes_on
    act = await world.act()
    assert (act["act"], act["actor"], act["subjects"], act["under_way"]) == ("ask", "ann", [SR], goes_on)
    assert act["outcome"] == (None if goes_on else standing)
    for language, said, listed in (
        ("en", case.said, case.listed),
        ("ja", case.said_in_japanese, case.listed_in_japanese),
    ):
        page = await world.page.html(f"/sr/{SR}?lang={language}")
        shown = words(page, r'<section class="job" data-key="inquiry".*?</section>')
        assert said in shown
        assert listed in words(await world.page.html(f"/acts?lang={language}"))
        assert len(buttons(page)) == (0 if goes_on or standing == "unconfigured" else 1)


async def test_a_form_that_is_sent_twice_asks_once(world: World) -> None:
    world.bench.api.says(SR, AGREES)
    fields = await world.fields()
    assert [await world.press(fields), await world.press(fields)] == [f"/sr/{SR}"] * 2
    assert len(world.bench.api.asked) == 1
    assert len(await world.bench.store.acts_on_sinks(None, 10)) == 1
    assert await world.press() == f"/sr/{SR}"  # the form of the page as it is now is another one
    assert len(world.bench.api.asked) == 2


async def test_a_request_that_is_being_asked_for_is_not_asked_for_twice(world: World) -> None:
    world.bench.api.says(SR, DIFFERS)
    first, second = await world.fields(), await world.fields()
    await world.press(first)
    there = await world.press(second)
    assert there == f"/sr/{SR}?asked=already"
    assert len(world.bench.api.asked) == len(await world.bench.store.acts_on_sinks(None, 10)) == 1
    assert "It was being asked already, so nothing was begun." in words(await world.page.html(there))
    assert "すでに照会中のため、新たな照会は始めていません。" in words(await world.page.html(f"{there}&lang=ja"))
    await world.bench.work()
    assert "already" not in words(await world.page.html(there))


async def test_the_question_of_a_command_is_shown_and_listed_too(world: World) -> None:
    world.bench.api.says(SR, AGREES)
    await world.bench.reconciler.begin([SR[:8]], open_requests=False, actor=Actor("bob", "robert"))
    await world.bench.work()
    inquiry = await world.inquiry()
    assert (inquiry["standing"], inquiry["actor"], inquiry["claimed"]) == ("same", "bob", "robert")
    act = await world.act()
    assert (act["actor"], act["claimed"], act["subjects"], act["outcome"]) == ("bob", "robert", [SR], "same")


async def test_an_answer_that_never_came_is_told_after_another_start(world: World) -> None:
    world.bench.api.says(SR, DIFFERS)
    await world.press()
    world.use()  # as the next process begins
    assert await world.inquiry() is None
    act = await world.act()
    assert (act["outcome"], act["under_way"], act["detail"]) == (None, False, "")
    assert "no answer before the gateway stopped" in words(await world.page.html("/acts"))
    assert "ゲートウェイの停止までに回答なし" in words(await world.page.html("/acts?lang=ja"))


async def test_the_audit_log_names_the_request_and_who_asked(world: World) -> None:
    world.bench.api.says(SR, AGREES)
    await world.press()
    (line,) = await world.bench.lines("reconcile.finished")
    assert (line["sr_uuid"], line["actor"], line["detail"]) == (SR, "ann", "1 of 1 asked: 1 agree")


@pytest.mark.parametrize("role", [Role.SUPPORT, Role.READ])
async def test_others_see_the_answer_and_no_button_and_are_refused(world: World, role: Role) -> None:
    world.bench.api.says(SR, AGREES)
    fields = await world.fields()
    page = await world.page.html(f"/sr/{SR}", role)
    assert buttons(page) == []
    refused = await world.page.send("/act", fields, role)
    assert refused.status == 403 and world.jobs.all() == []
    await world.press(fields)
    assert "which agrees with what the gateway knows" in words(await world.page.html(f"/sr/{SR}", role))


async def test_without_the_table_there_is_no_button_and_the_server_refuses(world: World) -> None:
    fields = await world.fields()
    world.bench.reconciler.use(None)
    assert buttons(await world.page.html(f"/sr/{SR}")) == []
    assert (await world.page.json(f"/sr/{SR}.json"))["can_ask"] is False
    refused = await world.page.send("/act", fields)
    assert refused.status == 400 and "[reconcile]" in (refused.text or "")
    assert await world.bench.store.acts_on_sinks(None, 10) == []


async def test_a_request_of_another_source_is_not_asked_for(world: World) -> None:
    await world.came(ANOTHER, "partner")
    assert buttons(await world.page.html(f"/sr/{ANOTHER}")) == []
    fields = {**await world.fields(), "id": ANOTHER}
    assert (await world.page.send("/act", fields)).status == 400
    assert world.jobs.all() == []


@pytest.mark.parametrize("id", ["BAG-404", SR[:8], "00000000-0000-4000-8000-000000000000"])
async def test_only_a_whole_uuid_that_the_ledger_has_is_asked_for(world: World, id: str) -> None:
    refused = await world.page.send("/act", {**await world.fields(), "id": id})
    assert refused.status == 404 and world.jobs.all() == []


async def test_so_many_questions_at_once_are_refused_in_words(world: World) -> None:
    for number in range(MOST_JOBS):
        world.bench.reconciler.ask(f"00000000-0000-4000-8000-{number:012}", "bob")
    refused = await world.page.send("/act", await world.fields())
    assert refused.status == 400 and "16 reconciliations are under way already" in (refused.text or "")


async def test_what_the_api_says_does_nothing_on_the_page(world: World) -> None:
    world.bench.api.says(SR, error(400, "<script>canary()</script>\u202e"))
    await world.press()
    page = await world.page.html(f"/sr/{SR}")
    assert "<script>canary" not in page and "canary()" in page and "\u202e" not in page


async def test_the_page_before_the_form_says_what_the_act_does(world: World) -> None:
    page = await world.page.html(f"/act?do=ask&id={SR}")
    assert "asks Legitmark's API for the present state of this request" in words(page)
    (form,) = buttons(page)
    assert (form["do"], form["id"]) == ("ask", SR)


async def test_a_request_of_two_sources_is_asked_for_and_shown_by_its_source(world: World) -> None:
    await world.came(SR, "partner")
    world.bench.api.says(SR, AGREES)
    fields = await world.fields(f"/sr/{SR}?source=legitmark")
    assert await world.press(fields) == f"/sr/{SR}?source=legitmark"
    assert (await world.inquiry(f"/sr/{SR}?source=legitmark"))["standing"] == "same"
