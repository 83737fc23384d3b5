"""`gateway messages`, `show`, `deliveries`, `replay`, `discard`, `pause`, `resume`, against a gateway that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bench import Bench, replayed
from tests.cli.running import gateway as command
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Two dead deliveries and a delivered one, to a sink that works again."""
    with Receiver() as receiver:
        receiver.script.extend([(500, {}), (500, {})])
        more = 'retry = ["0s"]\nbreaker = { failures = 100 }'
        with Running(tmp_path, http_sink(receiver, more=more) + route("erp")) as running:
            bench = Bench(running, receiver)
            bench.post(("sr-aa1", "msg_one", "BAG-1"), ("sr-aa2", "msg_two", "BAG-2"), ("sr-b", "msg_three", "BAG-3"))
            assert bench.states() == ["dead", "dead", "delivered"]
            yield bench


def test_messages_are_listed_oldest_first_with_the_state_of_their_deliveries(bench: Bench) -> None:
    result = bench.run("messages")
    assert result.status == 0 and result.err == ""
    first, second, third = result.out.splitlines()
    assert "BAG-1" in first and "erp dead" in first and "BAG-2" in second and "erp delivered" in third
    documents = bench.lines("messages")
    assert [document["sender_id"] for document in documents] == ["msg_one", "msg_two", "msg_three"]
    audit_names = {"message_id", "sender_id", "source", "event_type", "milestone", "sr_uuid", "reference_id", "time"}
    assert audit_names <= documents[0].keys()
    limited = bench.run("messages", "--limit", "2")
    assert len(limited.out.splitlines()) == 3 and "--limit" in limited.out
    assert [one["sr_uuid"] for one in bench.lines("messages", "--id", "sr-aa")] == ["sr-aa1", "sr-aa2"]
    assert bench.lines("messages", "--until", "1h") == [] and len(bench.lines("messages", "--since", "1h")) == 3


def test_show_finds_a_message_by_each_of_its_ids_and_says_when_there_is_none(bench: Bench) -> None:
    ids = [one["message_id"] for one in bench.lines("messages")]
    for text in (ids[0], "msg_one", "sr-aa1", "BAG-1", "msg_on"):
        (found,) = bench.run("show", text, "--json").document()
        assert found["message_id"] == ids[0], text
    assert len(bench.run("show", "sr-aa", "--json").document()) == 2
    told = bench.run("show", "BAG-1")
    assert told.status == 0 and "erp: dead" in told.out and "attempt 1" in told.out and "HTTP 500" in told.out
    for arguments in (["show", "nobody"], ["show", "nobody", "--json"]):
        assert bench.run(*arguments).status == 1


def test_show_tells_the_last_attempts_and_with_an_option_all_of_them(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.script.extend([(500, {})] * 25)
        more = f"retry = {['0s'] * 30}\nbreaker = {{ failures = 100 }}".replace("'", '"')
        with Running(tmp_path, http_sink(receiver, more=more) + route("erp")) as running:
            bench = Bench(running, receiver)
            bench.post(("sr-aa1", "msg_one", "BAG-1"))

            def shown(*options: str) -> list[int]:
                (message,) = bench.run("show", "BAG-1", "--json", *options).document()
                (delivery,) = message["deliveries"]
                assert delivery["attempt"] == 26
                return [attempt["attempt"] for attempt in delivery["attempts"]]

            assert shown() == list(range(7, 27)) and shown("--attempts") == list(range(1, 27))
            told, whole = bench.run("show", "BAG-1").out, bench.run("show", "BAG-1", "--attempts").out
            assert "6 before these: gateway show --attempts" in told and "attempt 6 " not in told
            assert "before these" not in whole and "attempt 1 " in whole and "attempt 26 " in whole


def test_deliveries_are_listed_by_state_sink_and_id(bench: Bench) -> None:
    assert len(bench.lines("deliveries")) == 3
    dead = bench.lines("deliveries", "--state", "dead")
    assert [one["reason"] for one in dead] == ["attempts_exhausted"] * 2
    assert {"delivery_id", "sink", "attempt", "reason", "next_attempt_at", "message_id"} <= dead[0].keys()
    assert [one["state"] for one in bench.lines("deliveries", "--sr", "sr-b")] == ["delivered"]
    unknown = bench.run("deliveries", "--sink", "crm")
    assert (unknown.status, unknown.err) == (2, 'gateway: error: there is no sink "crm"; known: erp\n')
    assert bench.run("deliveries", "--state", "lost").status == 2
    assert bench.run("deliveries", "--since", "soon").status == 2


def test_a_replay_counts_first_and_does_nothing_without_a_yes(bench: Bench) -> None:
    refused = bench.run("replay", "sr-aa")
    assert refused.status == 2 and "2" in refused.out and "--yes" in refused.err
    dry = bench.run("replay", "sr-aa", "--dry-run")
    assert dry.status == 0 and "2" in dry.out
    assert bench.run("replay", "sr-aa", "--dry-run", "--json").document() == replayed(2, 0, dead=2)
    assert bench.states() == ["dead", "dead", "delivered"]
    done = bench.run("replay", "sr-aa", "--yes", "--json")
    assert done.status == 0 and done.document() == replayed(2, 2, dead=2)
    asyncio.run(until(lambda: bench.states() == ["delivered"] * 3, 20))
    lines = bench.running.audit("delivery.replayed")
    assert len(lines) == 2 and all(line["actor"] == "admin" and line["claimed"] not in ("", "admin") for line in lines)
    nothing = bench.run("replay", "sr-aa", "--yes", "--json")
    assert nothing.status == 0 and nothing.document() == replayed(0, 0)


def test_a_discard_asks_first_and_ends_dead_deliveries(bench: Bench) -> None:
    assert bench.run("discard", "--state", "dead").status == 2
    assert bench.run("discard", "--sink", "erp", "--dry-run", "--json").document() == {
        "count": 2,
        "changed": 0,
        "queued": 0,
        "dead": 2,
    }
    assert bench.states() == ["dead", "dead", "delivered"]
    assert bench.run("discard", "sr-aa1", "--yes").status == 0
    assert bench.states() == ["discarded", "dead", "delivered"]
    assert bench.run("discard", "--state", "dead", "--yes", "--json").document() == {
        "count": 1,
        "changed": 1,
        "queued": 0,
        "dead": 1,
    }
    assert len(bench.running.audit("delivery.discarded")) == 2


@pytest.mark.parametrize("arguments", [["replay", "--yes"], ["discard", "--yes"], ["replay", "--unrouted", "--quarantined"]])
def test_an_act_without_a_selection_is_refused(bench: Bench, arguments: list[str]) -> None:
    assert bench.run(*arguments).status == 2
    assert bench.states() == ["dead", "dead", "delivered"]


@pytest.mark.parametrize("act", ["replay", "discard"])
def test_an_unknown_id_is_named_and_nothing_is_done_for_the_others(bench: Bench, act: str) -> None:
    alone = bench.run(act, "BAG-9", "--yes")
    assert (alone.status, alone.out, alone.err) == (1, "", 'gateway: no message has the id "BAG-9"\n')
    among = bench.run(act, "BAG-1", "BAG-9", "BAG-8", "--yes", "--json")
    assert among.status == 1 and among.document()["changed"] == 0
    assert among.err.splitlines()[:2] == [f'gateway: no message has the id "{text}"' for text in ("BAG-9", "BAG-8")]
    assert bench.states() == ["dead", "dead", "delivered"]
    assert bench.run("messages", "--id", "").status == 2


def test_a_known_message_without_a_matching_delivery_is_not_an_error(bench: Bench) -> None:
    told = bench.run("discard", "BAG-3", "--yes")
    assert (told.status, told.out, told.err) == (0, "0 deliveries to discard\n", "")
    named = "BAG-1 stands for 1 service request:\n  BAG-1  sr-aa1\n"
    assert bench.run("discard", "BAG-1", "--dry-run").out == f"1 delivery to discard: 1 dead\n{named}"


def test_an_empty_id_ends_nothing(bench: Bench) -> None:
    """Such as `gateway discard "$ID" --yes` with an unset variable."""
    bench.run("discard", "", "--yes")
    assert bench.states() == ["dead", "dead", "delivered"]


def test_pause_and_resume_say_whether_they_changed_anything(bench: Bench) -> None:
    said = [bench.run(act, "erp").out.strip() for act in ("pause", "pause", "resume", "resume")]
    assert said == ["erp is paused", "erp is paused already", "erp is running", "erp is running already"]
    to_it = (["replay", "--sink", "epr", "--yes"], ["replay", "--state", "dead", "--sink", "epr"], ["discard", "--sink", "epr"])
    for arguments in (["pause", "epr"], ["resume", "epr"], *to_it, ["deliveries", "--sink", "epr"]):
        unknown = bench.run(*arguments)
        assert unknown.status == 2 and unknown.err == 'gateway: error: there is no sink "epr"; did you mean "erp"?\n'
    assert len(bench.running.audit("sink.paused")) == len(bench.running.audit("sink.resumed")) == 1


@pytest.mark.parametrize(
    "arguments",
    [["messages"], ["deliveries"], ["show", "x"], ["replay", "x", "--yes"], ["discard", "x", "--yes"], ["pause", "archive"]],
)
def test_a_gateway_that_does_not_run_is_69_with_a_hint(folder: Path, free_port: Any, arguments: list[str]) -> None:
    result = command(*arguments, "--admin", f"127.0.0.1:{free_port()}", cwd=folder)
    assert result.status == 69 and "gateway serve" in result.err and "Traceback" not in result.err


def test_a_malformed_admin_address_is_a_usage_error(folder: Path) -> None:
    assert command("messages", "--admin", "nonsense", cwd=folder).status == 2


def test_the_address_of_the_webhook_listener_is_recognized_as_the_wrong_one(bench: Bench) -> None:
    host, port = bench.running.addresses["webhooks"]  # type: ignore[misc]
    for arguments in (["status"], ["messages"], ["pause", "erp"], ["replay", "BAG-1", "--yes"], ["reload"]):
        result = command(*arguments, "--admin", f"{host}:{port}", cwd=bench.running.folder)
        said = f"gateway: error: {host}:{port} is the listener for webhooks: use the address of [admin] listen\n"
        assert (result.status, result.out, result.err) == (69, "", said)


@pytest.mark.parametrize("arguments", [["status"], ["messages"], ["discard", "x", "--yes"]])
def test_an_empty_admin_address_is_not_the_default_address(folder: Path, arguments: list[str]) -> None:
    result = command(*arguments, "--admin", "", cwd=folder)
    assert (result.status, result.err) == (2, "gateway: error: --admin is empty: is a shell variable not set?\n")


def test_the_text_of_a_sender_is_printed_as_it_came(bench: Bench) -> None:
    references = ["SHOP:100:BLK", "[bold]x[/bold]", ":warning: [red]", "[/]", "\\[b]", "[link=http://x.example]a[/link]"]
    bench.post(*((f"sr-:100:-{number}", f"msg_:100:_{number}", text) for number, text in enumerate(references)))
    for arguments in (["messages"], ["deliveries"], ["tail", "-n", "100"]):
        run = bench.run(*arguments) if arguments[0] != "tail" else command(*arguments, cwd=bench.running.folder)
        assert run.status == 0
        assert [text for text in references if f"  {text}  " not in run.out] == [], arguments
    for number, text in enumerate(references):
        shown = bench.run("show", f"sr-:100:-{number}")
        assert text in shown.out and f"sender's id msg_:100:_{number}" in shown.out
