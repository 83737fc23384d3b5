"""A reconciliation asks Legitmark's API politely, believes it reluctantly, and tells what it found once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.errors import StoreError
from gateway.core.reconciliation import MOST_ANSWER, KnownState, Refused
from gateway.core.reconciliation import Reply as Reply_
from gateway.core.routing import GATEWAY, RECONCILE
from gateway.core.values import Actor, rfc3339
from gateway.reconcile.jobs import Stop
from gateway.reconcile.legitmark_api import LegitmarkApi
from gateway.reconcile.reconciler import CannotReconcile, UnknownRequest
from tests.engine.reconcile_bench import ReconcileBench, reconciling, uuid_of
from tests.fakes import START, FakeClock
from tests.support.fake_legitmark import BROKEN, KEY, NO_KEY, NOT_FOUND, TOO_MANY, Reply, error, found

LATER = rfc3339(START + 600)
EARLIER = rfc3339(START - 600)


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[ReconcileBench]:
    async with reconciling(tmp_path, clock) as bench:
        yield bench


def agreeing(bench: ReconcileBench, number: int, at: float | None = START) -> str:
    """A service request of which the gateway and the API tell the same."""
    sr_uuid = bench.known.add(number, "QC/PENDING", at)
    bench.api.says(sr_uuid, found(sr_uuid, "QC", "PENDING", LATER))
    return sr_uuid


def differing(bench: ReconcileBench, number: int = 1) -> str:
    """A service request of which the API tells something newer."""
    sr_uuid = bench.known.add(number, "QC/PENDING", reference_id="BAG-1")
    bench.api.says(sr_uuid, found(sr_uuid, "COMPLETE", "APPROVED", LATER))
    return sr_uuid


async def test_a_request_that_agrees_is_asked_once_and_told_to_nobody(bench: ReconcileBench) -> None:
    (finding,) = await bench.find(agreeing(bench, 1))
    assert (finding.result, finding.known_state, finding.state) == ("same", "QC/PENDING", "QC/PENDING")
    assert len(bench.api.asked) == 1
    assert bench.offered == []
    assert await bench.lines("sr.differs", "sr.not_found") == []
    (line,) = await bench.lines("reconcile.finished")
    assert (line["count"], line["detail"], line["actor"]) == (1, "1 of 1 asked: 1 agree", "ann")


async def test_the_key_is_sent_as_the_documents_say_today(bench: ReconcileBench) -> None:
    await bench.find(agreeing(bench, 1))
    headers = bench.api.asked[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert "content-length" not in headers and "x-api-key" not in headers


async def test_the_key_is_sent_as_the_older_documents_say(bench: ReconcileBench) -> None:
    bench.reconciler.use(bench.settings(header="x-api-key", scheme=""))
    (finding,) = await bench.find(agreeing(bench, 1))
    assert finding.result == "same"
    headers = bench.api.asked[0].headers
    assert headers["x-api-key"] == KEY
    assert "authorization" not in headers


async def test_requests_are_asked_oldest_first_and_two_in_a_second(bench: ReconcileBench) -> None:
    named = [agreeing(bench, number, START - at) for number, at in ((1, 10), (2, 30), (3, 20))]
    bench.api.says(uuid_of(4), found(uuid_of(4), "DRAFT", None, LATER))
    await bench.reconciler.begin([*named, uuid_of(4)], open_requests=False, actor="ann")
    await bench.steps(8)
    assert bench.api.order == [uuid_of(2), uuid_of(3), uuid_of(1), uuid_of(4)]
    assert bench.api.times == [0.0, 0.5, 1.0, 1.5]


async def test_a_disagreement_counts_after_sixty_seconds_if_it_is_still_there(bench: ReconcileBench) -> None:
    sr_uuid = differing(bench)
    (finding,) = await bench.find(sr_uuid)
    assert bench.api.times == [0.0, 60.0]
    assert (finding.result, finding.reference_id, finding.emitted) == ("differs", "BAG-1", False)
    assert finding.detail == "Legitmark's API says COMPLETE/APPROVED, the gateway knows QC/PENDING"
    (told,) = await bench.messages(GATEWAY)
    assert told == {
        "event_type": "gateway.sr_differs",
        "timestamp": rfc3339(START + 60),
        "sr_uuid": sr_uuid,
        "reference_id": "BAG-1",
        "state": {"primary": "COMPLETE", "supplement": "APPROVED"},
        "known_state": "QC/PENDING",
        "updated_at": LATER,
        "detail": finding.detail,
    }
    assert [owed.sink for owed in bench.offered] == ["desk"]
    (line,) = await bench.lines("sr.differs")
    assert (line["sr_uuid"], line["reference_id"], line["detail"]) == (sr_uuid, "BAG-1", finding.detail)


async def test_other_requests_are_asked_while_a_disagreement_waits_to_be_confirmed(bench: ReconcileBench) -> None:
    first = differing(bench)
    others = [agreeing(bench, number, START + number) for number in range(2, 5)]
    await bench.ask(first, *others)
    assert bench.api.order == [first, *others, first]


async def test_a_webhook_that_comes_within_the_minute_ends_the_doubt(bench: ReconcileBench) -> None:
    sr_uuid = differing(bench)
    facts = await bench.reconciler.begin([sr_uuid], open_requests=False, actor="ann")
    assert await bench.steps(2) == [0.0, 60.0]
    bench.known.states[sr_uuid] = KnownState(sr_uuid=sr_uuid, state="COMPLETE/APPROVED", at=START + 600)
    await bench.work()
    (finding,) = bench.reconciler.jobs.get(facts.job).findings
    assert finding.result == "same"
    assert await bench.messages(GATEWAY) == []


async def test_a_stale_cache_is_not_believed(bench: ReconcileBench) -> None:
    sr_uuid = bench.known.add(1, "COMPLETE/APPROVED")
    bench.api.says(sr_uuid, found(sr_uuid, "QC", "PENDING", EARLIER, cached=True))
    (finding,) = await bench.find(sr_uuid)
    assert (finding.result, finding.state, len(bench.api.asked)) == ("older", "QC/PENDING", 1)
    assert await bench.messages(GATEWAY) == []


async def test_an_answer_that_is_older_the_second_time_is_not_believed(bench: ReconcileBench) -> None:
    sr_uuid = differing(bench)
    bench.api.says(sr_uuid, found(sr_uuid, "COMPLETE", "APPROVED", LATER), found(sr_uuid, "QC", "REJECTED", EARLIER, cached=True))
    (finding,) = await bench.find(sr_uuid)
    assert finding.result == "older"
    assert await bench.messages(GATEWAY) == []


async def test_the_second_answer_is_the_one_that_is_told(bench: ReconcileBench) -> None:
    sr_uuid = differing(bench)
    bench.api.says(sr_uuid, found(sr_uuid, "UNDERWAY", "ASSIGNED", LATER), found(sr_uuid, "COMPLETE", "REJECTED", LATER))
    (finding,) = await bench.find(sr_uuid)
    assert finding.state == "COMPLETE/REJECTED"


async def test_a_request_that_the_gateway_never_heard_of_is_found_by_its_uuid(bench: ReconcileBench) -> None:
    sr_uuid = uuid_of(7)
    bench.api.says(sr_uuid, found(sr_uuid, "QC", "REJECTED", LATER, external_id="BAG-7"))
    (finding,) = await bench.find(sr_uuid.upper())
    assert (finding.sr_uuid, finding.result, finding.reference_id) == (sr_uuid, "differs", "BAG-7")
    assert finding.detail.endswith("the gateway knows no such service request")


async def test_a_disagreement_is_told_once_however_often_it_is_found(bench: ReconcileBench) -> None:
    sr_uuid = differing(bench)
    for _ in range(3):
        await bench.ask(sr_uuid)
    assert len(await bench.messages(GATEWAY)) == 1
    bench.api.says(sr_uuid, found(sr_uuid, "COMPLETE", "COMPLETE", rfc3339(START + 900)))
    await bench.ask(sr_uuid)
    assert [told["state"]["supplement"] for told in await bench.messages(GATEWAY)] == ["APPROVED", "COMPLETE"]


async def test_nothing_is_emitted_unless_the_operator_asks_for_it(bench: ReconcileBench) -> None:
    await bench.ask(differing(bench))
    assert await bench.messages(RECONCILE) == []


async def test_an_emitted_state_goes_through_the_routes_and_is_never_presented_as_signed(bench: ReconcileBench) -> None:
    bench.reconciler.use(bench.settings(emit=True))
    sr_uuid = differing(bench)
    for reference_id in (None, "BAG-1"):  # a name that was given later makes no other event
        bench.api.says(sr_uuid, found(sr_uuid, "COMPLETE", "APPROVED", LATER, external_id=reference_id))
        (finding,) = await bench.find(sr_uuid)
        assert finding.emitted
    (emitted,) = await bench.messages(RECONCILE)
    assert emitted == {
        "event_type": "state_change",
        "sr_uuid": sr_uuid,
        "reference_id": None,
        "state": {"primary": "COMPLETE", "supplement": "APPROVED"},
        "timestamp": LATER,
        "reconciled": True,
    }
    (owed,) = [owed for owed in bench.offered if owed.sink == "erp"]
    assert (owed.message.source, owed.message.sender_id, owed.message.milestone) == (RECONCILE, None, "authentic")


async def test_a_disagreement_that_cannot_be_stored_is_told_a_minute_later(bench: ReconcileBench) -> None:
    bench.reconciler.use(bench.settings(emit=True))
    sr_uuid = differing(bench)
    bench.store.refused = 2
    (finding,) = await bench.find(sr_uuid)
    assert finding.result == "differs"
    assert bench.api.times == [0.0, 60.0, 120.0, 180.0]
    assert (len(await bench.messages(RECONCILE)), len(await bench.messages(GATEWAY))) == (1, 1)


async def test_a_request_that_legitmark_does_not_know_is_flagged(bench: ReconcileBench) -> None:
    sr_uuid = bench.known.add(1, "QC/PENDING", reference_id="BAG-1")
    bench.api.says(sr_uuid, NOT_FOUND)
    (finding,) = await bench.find(sr_uuid)
    assert (finding.result, finding.known_state, finding.reference_id) == ("not_found", "QC/PENDING", "BAG-1")
    (line,) = await bench.lines("sr.not_found")
    assert (line["sr_uuid"], line["reference_id"], line["actor"]) == (sr_uuid, "BAG-1", "ann")


@pytest.mark.parametrize("refusal", [NO_KEY, error(403, "Forbidden")], ids=["401", "403"])
async def test_a_refused_key_stops_everything_until_a_person_mends_it(bench: ReconcileBench, refusal: Reply) -> None:
    first, second = agreeing(bench, 1, START - 9), agreeing(bench, 2)
    bench.api.says(first, refusal)
    job = await bench.ask(first, second)
    assert bench.api.order == [first]
    assert job.stopped is not None and "api_key" in job.stopped.detail and KEY not in job.stopped.detail
    assert bench.reconciler.refused is not None
    (line,) = await bench.lines("reconcile.stopped")
    assert line["detail"].startswith(f"0 of 2 asked; the API refused the key (HTTP {refusal.status} ")
    assert await bench.reconciler.begin_by_itself("gap") is True
    assert await bench.steps(2) == [None, None], "nothing begins by itself while the key is refused"
    bench.api.says(first, found(first, "QC", "PENDING", LATER))
    assert len((await bench.ask(first, second)).findings) == 2
    assert bench.reconciler.refused is None


async def test_a_reload_with_another_key_ends_the_refusal(bench: ReconcileBench) -> None:
    sr_uuid = agreeing(bench, 1)
    bench.reconciler.use(bench.settings(key="leo_expired_4711"))
    assert (await bench.ask(sr_uuid)).stopped is not None
    bench.reconciler.use(bench.settings(key="leo_expired_4711", emit=True))
    assert bench.reconciler.refused is not None, "the key is the same"
    bench.reconciler.use(bench.settings())
    assert bench.reconciler.refused is None
    await bench.reconciler.begin_by_itself("gap")
    await bench.work()
    assert [job.stopped for job in bench.reconciler.jobs.all()][-1] is None


async def test_an_answer_to_an_old_key_says_nothing_about_a_new_one(bench: ReconcileBench) -> None:
    sr_uuid = agreeing(bench, 1)

    class Slow(LegitmarkApi):
        """An API whose refusal comes after a reload."""

        async def ask(self, sr_uuid: str) -> Reply_:
            reply = await super().ask(sr_uuid)
            if isinstance(reply, Refused):
                reconciler.use(bench.settings())
            return reply

    reconciler = bench.another(bench.settings(key="leo_expired_4711"), Slow)
    facts = await reconciler.begin([sr_uuid], open_requests=False, actor="ann")
    job = reconciler.jobs.get(facts.job)
    await bench.work(job)
    assert ([finding.result for finding in job.findings], reconciler.refused) == (["same"], None)
    await reconciler.aclose()


async def test_too_many_questions_back_off_from_a_second_to_five_minutes(bench: ReconcileBench) -> None:
    sr_uuid = agreeing(bench, 1)
    bench.api.says(sr_uuid, *[TOO_MANY] * 11, found(sr_uuid, "QC", "PENDING", LATER))
    (finding,) = await bench.find(sr_uuid)
    assert finding.result == "same"
    pauses = [after - before for before, after in zip(bench.api.times, bench.api.times[1:], strict=False)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]


@pytest.mark.parametrize(("said", "pause"), [("60", 60.0), ("0", 1.0), ("86400", 300.0), ("soon", 1.0)])
async def test_the_api_says_how_long_to_wait_within_the_same_bounds(bench: ReconcileBench, said: str, pause: float) -> None:
    sr_uuid = agreeing(bench, 1)
    bench.api.says(sr_uuid, error(429, "Rate limit exceeded", Retry_After=said), found(sr_uuid, "QC", "PENDING", LATER))
    await bench.ask(sr_uuid)
    assert bench.api.times == [0.0, pause]


async def test_what_is_waited_for_is_shown(bench: ReconcileBench) -> None:
    sr_uuid = agreeing(bench, 1)
    bench.api.says(sr_uuid, error(429, "Slow down", Retry_After="60"))
    facts = await bench.reconciler.begin([sr_uuid], open_requests=False, actor="ann")
    await bench.reconciler.step()
    shown = bench.reconciler.facts(bench.reconciler.jobs.get(facts.job))
    assert (shown.done, shown.total, shown.waiting_seconds) == (0, 1, 60.0)
    assert shown.waiting_for is not None and shown.waiting_for.startswith("HTTP 429 Too Many Requests: ")


async def test_a_success_ends_the_backoff(bench: ReconcileBench) -> None:
    first, second = agreeing(bench, 1, START - 9), agreeing(bench, 2)
    bench.api.says(first, BROKEN, BROKEN, found(first, "QC", "PENDING", LATER))
    bench.api.says(second, BROKEN, found(second, "QC", "PENDING", LATER))
    await bench.ask(first, second)
    assert bench.api.times == [0.0, 1.0, 3.0, 3.5, 4.5]


NO_JSON = Reply(200, b"<html>captive portal</html>", {})


@pytest.mark.parametrize("reply", [BROKEN, error(503, "no"), NO_JSON], ids=["500", "503", "garbage"])
async def test_a_request_without_a_usable_answer_is_given_up_after_six_tries(bench: ReconcileBench, reply: Reply) -> None:
    broken, good = agreeing(bench, 1, START - 9), agreeing(bench, 2)
    bench.api.says(broken, reply)
    first, second = await bench.find(broken, good)
    assert (first.sr_uuid, first.result, second.result) == (broken, "failed", "same")
    assert bench.api.order == [broken] * 6 + [good]
    assert bench.api.times[:6] == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0]


async def test_a_run_that_nobody_waits_for_tries_once_more_behind_the_others(bench: ReconcileBench) -> None:
    broken, good = agreeing(bench, 1, START - 9), agreeing(bench, 2)
    bench.api.says(broken, *[BROKEN] * 6, found(broken, "QC", "PENDING", LATER))
    await bench.reconciler.begin_by_itself("source_silent")
    await bench.work()
    (job,) = bench.reconciler.jobs.all()
    assert bench.api.order == [broken] * 6 + [good, broken]
    assert (bench.reconciler.facts(job).same, job.findings) == (2, []), "nobody looks at those that agree"


@pytest.mark.parametrize(
    ("reply", "detail"),
    [
        (found(uuid_of(9), "QC", "PENDING", LATER), "the answer is about another service request"),
        (Reply(200, b"x" * (MOST_ANSWER + 1000), {}), "the answer has more than 1 MiB"),
        (Reply(200, b"[]", {}), "the answer has no sr with uuid, state and updated_at"),
        (error(400, "Validation failed"), "HTTP 400 Bad Request: "),
        (Reply(302, b"", {"Location": "http://127.0.0.1:9/"}), "HTTP 302 Found"),
    ],
    ids=["wrong uuid", "huge", "another shape", "400", "redirect"],
)
async def test_an_answer_that_would_be_the_same_again_is_not_asked_for_again(
    bench: ReconcileBench, reply: Reply, detail: str
) -> None:
    sr_uuid = bench.known.add(1, "QC/PENDING")
    bench.api.says(sr_uuid, reply)
    (finding,) = await bench.find(sr_uuid)
    assert (finding.result, finding.known_state) == ("failed", "QC/PENDING")
    assert finding.detail.startswith(detail)
    assert len(bench.api.asked) == 1


async def test_an_answer_of_one_mebibyte_is_read(bench: ReconcileBench) -> None:
    sr_uuid = bench.known.add(1, "QC/PENDING")
    reply = found(sr_uuid, "QC", "PENDING", LATER)
    bench.api.says(sr_uuid, Reply(200, reply.body.ljust(MOST_ANSWER), reply.headers))
    (finding,) = await bench.find(sr_uuid)
    assert finding.result == "same"


async def test_an_answer_that_does_not_come_whole_in_time_is_asked_for_again(bench: ReconcileBench) -> None:
    bench.reconciler.use(bench.settings(timeout=0.5))
    sr_uuid = bench.known.add(1, "QC/PENDING")
    reply = found(sr_uuid, "QC", "PENDING", LATER)
    bench.api.says(sr_uuid, Reply(200, reply.body, reply.headers, hangs=True), reply)
    (finding,) = await bench.find(sr_uuid)
    assert (finding.result, bench.api.times) == ("same", [0.0, 1.0])


async def test_an_answer_that_repeats_the_key_is_not_shown(bench: ReconcileBench) -> None:
    sr_uuid = bench.known.add(1, "QC/PENDING")
    bench.api.says(sr_uuid, error(400, f"bad header Bearer {KEY}"))
    (finding,) = await bench.find(sr_uuid)
    assert KEY not in finding.detail and "not shown" in finding.detail


async def test_an_address_that_may_not_be_dialled_is_told_in_words(bench: ReconcileBench) -> None:
    bench.reconciler.use(bench.settings(allow_networks=["203.0.113.0/24"]))
    (finding,) = await bench.find(bench.known.add(1, "QC/PENDING"))
    assert finding.detail == "the API's address is one that may not be dialled; see allow_networks in [reconcile]"
    assert bench.api.asked == []


async def test_all_open_requests_are_asked_for_and_no_others(bench: ReconcileBench) -> None:
    opened = [agreeing(bench, number, START + number) for number in (1, 2, 3)]
    bench.known.add(4, "COMPLETE/APPROVED")
    bench.known.add(5, "CANCELLED")
    await bench.ask(open_requests=True)
    assert bench.api.order == opened


async def test_a_run_asks_for_no_more_requests_than_it_may(bench: ReconcileBench) -> None:
    bench.reconciler.use(bench.settings(most=2))
    opened = [agreeing(bench, number, START + number) for number in (1, 2, 3)]
    await bench.reconciler.begin_by_itself("gap")
    await bench.work()
    assert bench.api.order == opened[:2]


async def test_a_person_does_not_wait_for_a_run_that_began_by_itself(bench: ReconcileBench) -> None:
    for number in range(1, 6):
        agreeing(bench, number, START + number)
    await bench.reconciler.begin_by_itself("gap")
    await bench.steps(4)
    asked = agreeing(bench, 9)
    await bench.ask(asked)
    assert bench.api.order == [uuid_of(1), uuid_of(2), asked]
    await bench.work()
    assert len(bench.api.asked) == 6


async def test_one_run_by_itself_is_enough(bench: ReconcileBench) -> None:
    agreeing(bench, 1)
    assert await bench.reconciler.begin_by_itself("gap")
    assert await bench.reconciler.begin_by_itself("source_silent")
    assert len(bench.reconciler.jobs.all()) == 1


async def test_a_reference_id_stands_for_all_of_its_requests(bench: ReconcileBench) -> None:
    bench.known.texts["BAG-1"] = [agreeing(bench, 1), agreeing(bench, 2)]
    assert len(await bench.find("BAG-1", uuid_of(1))) == 2


async def test_what_was_named_has_to_exist(bench: ReconcileBench) -> None:
    with pytest.raises(UnknownRequest, match=r'"BAG-9".*whole uuid'):
        await bench.reconciler.begin([agreeing(bench, 1), "BAG-9"], open_requests=False, actor="ann")
    for ids in ([], [""], [uuid_of(1)] * 1001):
        with pytest.raises(ValueError):
            await bench.reconciler.begin(ids, open_requests=False, actor="ann")
    assert bench.reconciler.jobs.all() == []


async def test_a_request_whose_name_is_no_uuid_never_becomes_a_path(bench: ReconcileBench) -> None:
    name = "../../admin?x="
    bench.known.states[name] = KnownState(sr_uuid=name, state="QC/PENDING", at=START)
    good = agreeing(bench, 1)
    findings = await bench.find(name, good)
    assert [(finding.sr_uuid, finding.result) for finding in findings] == [(name, "failed"), (good, "same")]
    assert bench.api.order == [good]
    (finding,) = await bench.find(name)
    assert finding.result == "failed"


async def test_without_the_table_nothing_begins(bench: ReconcileBench) -> None:
    facts = await bench.reconciler.begin([differing(bench)], open_requests=False, actor="ann")
    bench.reconciler.use(None)
    assert bench.reconciler.jobs.get(facts.job).stopped == Stop("unconfigured", "[reconcile] left the configuration")
    assert await bench.reconciler.begin_by_itself("gap")
    with pytest.raises(CannotReconcile, match=r"no \[reconcile\]"):
        await bench.reconciler.begin([uuid_of(1)], open_requests=False, actor="ann")
    assert await bench.reconciler.step() is None
    assert bench.api.asked == []


async def test_so_many_jobs_and_no_more_are_under_way(bench: ReconcileBench) -> None:
    sr_uuid = agreeing(bench, 1)
    for _ in range(16):
        await bench.reconciler.begin([sr_uuid], open_requests=False, actor="ann")
    with pytest.raises(CannotReconcile, match="16 reconciliations"):
        await bench.reconciler.begin([sr_uuid], open_requests=False, actor="ann")
    await bench.work()
    assert len(bench.reconciler.jobs.all()) == 8, "the findings of the last ones are kept"


async def test_a_person_can_end_a_job(bench: ReconcileBench) -> None:
    facts = await bench.reconciler.begin([differing(bench)], open_requests=False, actor="ann")
    await bench.steps(1)
    bench.reconciler.cancel(facts.job, "bob")
    assert await bench.reconciler.step() is None
    (line,) = await bench.lines("reconcile.stopped")
    assert line["detail"] == "0 of 1 asked; ended by bob"
    with pytest.raises(KeyError):
        bench.reconciler.cancel(99, "bob")


async def test_a_stop_tells_what_was_not_asked(bench: ReconcileBench) -> None:
    await bench.reconciler.begin([agreeing(bench, 1), agreeing(bench, 2)], open_requests=False, actor="ann")
    await bench.reconciler.step()
    bench.reconciler.stop()
    (line,) = await bench.lines("reconcile.stopped")
    assert line["detail"].startswith("1 of 2 asked: 1 agree; the gateway stopped")


async def test_a_store_that_cannot_be_asked_costs_no_request(bench: ReconcileBench) -> None:
    sr_uuid = agreeing(bench, 1)
    facts = await bench.reconciler.begin([sr_uuid], open_requests=False, actor="ann")
    bench.known.failing = True
    await bench.steps(3)
    assert await bench.reconciler.begin_by_itself("gap") is False
    bench.known.failing = False
    await bench.work()
    (finding,) = bench.reconciler.jobs.get(facts.job).findings
    assert finding.result == "same"


async def test_the_metrics_count_what_was_found(bench: ReconcileBench) -> None:
    await bench.ask(agreeing(bench, 1), differing(bench, 2), uuid_of(3))
    said = bench.metrics.exposition().decode()
    for result in ("same", "differs", "not_found"):
        assert f'legitmark_gateway_reconciled_total{{result="{result}"}} 1.0' in said
    assert "legitmark_gateway_reconcile_left 0.0" in said
    assert "legitmark_gateway_reconcile_refused 0.0" in said


async def test_a_question_about_one_request_goes_before_those_of_a_longer_job(bench: ReconcileBench) -> None:
    named = [agreeing(bench, number) for number in range(1, 5)]
    await bench.reconciler.begin(named[:3], open_requests=False, actor="ann")
    await bench.steps(1)
    bench.reconciler.ask(named[3], "bob")
    await bench.steps(8)
    assert bench.api.order == [named[0], named[3], *named[1:3]]


async def test_a_question_is_kept_as_an_act_also_if_the_store_fails_for_a_while(bench: ReconcileBench) -> None:
    acts = bench.reconciler.acts_under_way
    sr_uuid, keep_act = differing(bench), bench.store.keep_act

    async def fails(*_: object, **__: object) -> int:
        raise StoreError("the disk is full")

    bench.store.keep_act = fails  # type: ignore[method-assign]
    job = bench.reconciler.ask(sr_uuid, Actor("bob", "robert"))
    assert await bench.steps(2) == [5.0, 5.0] and bench.api.asked == []
    bench.store.keep_act = keep_act  # type: ignore[method-assign]
    await bench.steps(1)
    (act,) = await bench.store.acts_on_sinks(None, 10)
    assert (act.act, act.subject, act.actor, act.claimed, act.detail) == ("ask", sr_uuid, "bob", "robert", "")
    assert list(acts) == [act.id]
    await bench.work(job)
    await bench.steps(1)
    (act,) = await bench.store.acts_on_sinks(None, 10)
    assert (act.detail, list(acts)) == ("differs COMPLETE/APPROVED", [])


async def test_jobs_for_many_requests_and_those_that_nobody_asked_for_are_no_acts(bench: ReconcileBench) -> None:
    await bench.ask(agreeing(bench, 1), agreeing(bench, 2))
    bench.known.states = {uuid_of(1): KnownState(sr_uuid=uuid_of(1), state="QC/PENDING", at=START)}
    await bench.reconciler.begin_by_itself("gap")
    await bench.work()
    assert len(bench.reconciler.jobs.all()) == 2
    assert await bench.store.acts_on_sinks(None, 10) == []
    assert bench.reconciler.jobs.about(uuid_of(1)) is None


async def test_the_last_two_hundred_questions_are_remembered_and_those_under_way(bench: ReconcileBench) -> None:
    held = bench.reconciler.ask(uuid_of(0), "ann")
    for number in range(1, 202):
        bench.reconciler.jobs.end(bench.reconciler.ask(uuid_of(number), "ann"), Stop("cancelled", "ended by ann"))
    jobs = bench.reconciler.jobs
    assert jobs.about(uuid_of(0)) is held
    assert jobs.about(uuid_of(1)) is None is jobs.about(uuid_of(2))
    assert jobs.about(uuid_of(201)) is not None is not jobs.about(uuid_of(3))
