"""`gateway sr` and `gateway srs` beside a running gateway: one command says why somebody did not hear of an item."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests.cli.backups import admin
from tests.cli.running import Result
from tests.cli.running import gateway as command
from tests.support.gateway_process import Running, no_traceback
from tests.support.waiting import until
from tests.support.webhooks import event, new_id, signed

CONFIG = """
[sources.legitmark]
secrets = [{ env = "LEGITMARK" }]

[sources.staging]
path = "/webhooks/staging"
secrets = [{ env = "LEGITMARK" }]

[sinks.archive]
type = "jsonl"
path = "archive.jsonl"

[sinks.erp]
type = "jsonl"
path = "erp.jsonl"

[sinks.pager]
type = "jsonl"
path = "pager.jsonl"

[[routes]]
name = "alarms"
source = "gateway"
sinks = ["pager"]

[[routes]]
name = "everything"
sinks = ["archive"]

[[routes]]
name = "verdicts"
match = { milestone = ["authentic", "counterfeit"] }
sinks = ["erp"]
"""
UUID = "b16c763b-5a1d-4a52-9a70-0d4c3b2a1f00"
OTHER = "b16c763b-ffff-4a52-9a70-0d4c3b2a1f00"
STORY = (
    ("QC", "PENDING", "10"),
    ("COMPLETE", "APPROVED", "50"),
    ("QC", "APPROVED", "30"),
)
"""The third event comes late."""


def change(sr_uuid: str, reference_id: str, primary: str, supplement: str, minute: str) -> bytes:
    state = {"primary": primary, "supplement": supplement}
    return event(sr_uuid, reference_id=reference_id, state=state, timestamp=f"2026-03-01T20:{minute}:00.000Z")


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that heard of two items, one of them with a late event and with a message that came twice."""
    with Running(tmp_path_factory.mktemp("standing"), CONFIG) as running, no_traceback(running):
        asyncio.run(_post(running))
        yield running


async def _post(running: Running) -> None:
    bodies = [change(UUID, "品物-1001", *one) for one in STORY]
    bodies.append(change(OTHER, "ITEM-2", "QC", "PENDING", "10"))
    twice = new_id()
    for body, identifier in ((bodies[0], twice), (bodies[0], twice), *((body, new_id()) for body in bodies[1:])):
        assert (await running.post(body, signed(body, identifier))).status == 200
    await until(lambda: len(running.audit("delivery.delivered")) == 5)


def sr(running: Running, *arguments: str) -> Result:
    return command("sr", *arguments, "--admin", admin(running), cwd=running.folder)


def srs(running: Running, *arguments: str) -> Result:
    return command("srs", *arguments, "--admin", admin(running), cwd=running.folder)


def test_one_command_says_who_was_told_and_why_the_erp_was_not(standing: Running) -> None:
    done = sr(standing, "品物-1001")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[0] == "品物-1001  COMPLETE/APPROVED (authentic)  since 2026-03-01T20:50:00.000Z  round 1"
    blocks = done.out.split("\n\n")[1:]
    assert [block.splitlines()[0].split("  ")[1:] for block in blocks] == [
        ["qc_pending"],
        ["qc_approved", "LATE"],
        ["authentic", "! skipped QC/APPROVED"],
    ]
    assert [block.count("erp: not told") for block in blocks] == [1, 1, 0] and "erp: told" in blocks[2]
    closed = "on arrival: skipped QC/APPROVED, was QC/PENDING; by what is known now: nothing skipped, was QC/APPROVED"
    assert closed in blocks[2] and "on arrival" not in blocks[0]
    assert "on arrival: late, was COMPLETE/APPROVED; by what is known now: in order, was QC/PENDING" in blocks[1]
    assert done.out.count("pager") == 1 and '  pager: told only of the gateway\'s own events, by "alarms"\n' in done.out
    wanted = 'milestone: expected ["authentic", "counterfeit"], is "qc_pending"'
    line = (standing.folder / "gateway.toml").read_text().splitlines().index('name = "verdicts"')
    assert f'erp: not told: "verdicts" (gateway.toml:{line}) {wanted}' in blocks[0]
    assert 'signed with env LEGITMARK; by "everything" of rules 1; 1 repeat: ' in blocks[0]


@pytest.mark.parametrize("name", [UUID, UUID.upper(), UUID[:12], "item-2", "ITEM-2", "ＩＴＥＭ-2"])
def test_a_request_is_found_by_each_of_its_names(standing: Running, name: str) -> None:
    done = sr(standing, name, "--json")
    assert done.status == 0, done.err
    (found,) = done.document()["requests"]
    assert found["sr_uuid"] in (UUID, OTHER)


def test_a_request_is_found_by_the_id_of_a_message(standing: Running) -> None:
    accepted = standing.audit("message.accepted")[0]
    for identifier in (accepted["message_id"], accepted["sender_id"]):
        assert sr(standing, identifier, "--json").document()["by"] == "message_id"


def test_several_candidates_are_listed(standing: Running) -> None:
    done = sr(standing, "b16c763b")
    assert done.status == 1 and "stands for 2 service requests: name one by its uuid" in done.err
    assert [UUID in line or OTHER in line for line in done.out.splitlines()] == [True, True]


def test_a_name_that_is_not_known_gets_what_was_searched_and_what_comes_near(standing: Running) -> None:
    done = sr(standing, "ITEM-22")
    assert (done.status, done.out) == (1, "")
    for said in ('no service request is called "ITEM-22"', "reference ids in any case", "goes back to 20", "much alike: ITEM-2"):
        assert said in done.err


def test_the_bodies_come_only_if_they_are_asked_for(standing: Running) -> None:
    assert '"event_type":"state_change"' in sr(standing, UUID, "--payload").out
    assert '"event_type":"state_change"' not in sr(standing, UUID).out
    story = sr(standing, UUID, "--payload", "--json").document()["story"]
    assert json.loads(story["events"][0]["body"])["reference_id"] == "品物-1001"


def test_a_limit_shows_the_newest_and_says_that_there_are_earlier_ones(standing: Running) -> None:
    done = sr(standing, UUID, "--limit", "1")
    assert "earlier events are not shown" in done.out and done.out.count("archive: told") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("",), "the ID is empty"),
        (("x", "--limit", "0"), "--limit 0"),
        ((UUID, "--sink", "erb"), 'there is no sink "erb"; did you mean "erp"?'),
    ],
)
def test_a_mistake_is_named(standing: Running, arguments: tuple[str, ...], said: str) -> None:
    done = sr(standing, *arguments)
    assert (done.status, done.out) == (2, "") and said in done.err


def test_a_list_is_chosen_by_state_and_by_flag(standing: Running) -> None:
    def listed(*arguments: str) -> list[str]:
        done = srs(standing, *arguments, "--json")
        assert (done.status) == 0, done.err
        return [json.loads(line)["sr_uuid"] for line in done.out.splitlines()]

    assert listed() == [UUID, OTHER]
    assert listed("--state", "qc_pending") == listed("--state", "QC/PENDING") == [OTHER]
    assert listed("--state", "authentic", "--state", "qc_pending", "--until", "2026-03-01T20:30:00Z") == [OTHER]
    assert listed("--flag", "ended_twice") == listed("--stalled") == []
    assert listed("--limit", "1") == [UUID]


def test_an_empty_list_says_so(standing: Running) -> None:
    done = srs(standing, "--flag", "reopened")
    assert (done.status, done.out) == (0, "") and "no service requests fit" in done.err


def test_a_state_that_does_not_exist_gets_the_nearest_one(standing: Running) -> None:
    done = srs(standing, "--state", "QC/PENDNG")
    assert done.status == 2 and 'did you mean "QC/PENDING"?' in done.err


def test_a_replay_counts_the_late_ones_and_leaves_them_out_if_asked(standing: Running) -> None:
    def counted(*more: str) -> Result:
        return command("replay", UUID, "--delivered", "--dry-run", *more, "--admin", admin(standing), cwd=standing.folder)

    all_of_them, fewer = counted(), counted("--skip-late")
    assert "4 deliveries to replay: 4 delivered" in all_of_them.out and "2 of them are late" in all_of_them.out
    assert "2 deliveries to replay: 2 delivered" in fewer.out and "2 late ones are left out" in fewer.out
    assert counted("--json").document() == {"count": 4, "changed": 0, "dead": 0, "delivered": 4, "new": 0, "late": 2}


def test_before_an_act_by_a_name_the_requests_are_named_that_it_stands_for(standing: Running) -> None:
    def said(name: str, *more: str) -> str:
        act = ("replay", name, "--delivered", "--dry-run", *more)
        return command(*act, "--admin", admin(standing), cwd=standing.folder).out

    several = said("b16c763b").splitlines()
    assert several[-3] == "b16c763b stands for 2 service requests:"
    assert sorted(several[-2:]) == sorted([f"  品物-1001  {UUID}", f"  ITEM-2  {OTHER}"])
    assert said("item-2").splitlines()[-2:] == ["item-2 stands for 1 service request:", f"  ITEM-2  {OTHER}"]
    assert "stands for" not in said("b16c763b", "--json")


def test_show_names_the_routes_the_key_the_repeats_and_who_acted(standing: Running) -> None:
    def shown() -> str:
        done = command("show", "ITEM-2", "--admin", admin(standing), cwd=standing.folder)
        assert done.status == 0
        return done.out

    assert 'signed with env LEGITMARK; by "everything" of rules 1' in shown()
    done = command("replay", "ITEM-2", "--delivered", "--yes", "--admin", admin(standing), cwd=standing.folder)
    assert done.status == 0
    assert "replay to archive; it was delivered" in shown() and "replay to archive; it was delivered" in sr(standing, OTHER).out


def test_a_state_that_nobody_knows_is_named_and_a_long_body_says_where_the_reasons_are(standing: Running) -> None:
    primary, long = "ESCALATED", "x" * 70_000
    state = {"primary": primary, "supplement": None}
    bodies = (
        event("sr-odd", state=state, timestamp="2026-03-01T20:10:00.000Z"),
        event("sr-odd", timestamp="2026-03-01T20:20:00.000Z", note=long),
    )
    for body in bodies:
        assert asyncio.run(standing.post(body, signed(body, new_id()))).status == 200
    odd, large = sr(standing, "sr-odd").out.split("\n\n")[1:]
    assert odd.splitlines()[0].endswith("  state_change ESCALATED")
    assert "erp: not told" in odd and "erp" not in large
    assert "  the body is long: why other sinks were not told, gateway route 0" in large


def test_of_two_sources_that_told_of_one_uuid_one_is_chosen(standing: Running) -> None:
    body = event("sr-twice", reference_id="TWICE")
    for path in ("/webhooks/legitmark", "/webhooks/staging"):
        assert asyncio.run(standing.post(body, signed(body, new_id()), path=path)).status == 200
    done = sr(standing, "twice")
    assert done.status == 1 and "stands for 2 service requests: choose one by --source" in done.err
    assert sorted(line.rpartition("  of ")[2] for line in done.out.splitlines()) == ["legitmark", "staging"]
    assert "sr-twice of staging: 1 event" in sr(standing, "twice", "--source", "staging").out
    assert sr(standing, "twice", "--source", "nowhere").status == 1
    (only,) = srs(standing, "--source", "staging").out.splitlines()
    assert only.endswith("sr-twice")
