"""`gateway status`, of healthy gateways and of gateways in trouble."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from tests.cli.running import Result
from tests.cli.running import gateway as command
from tests.cli.terminal import shown
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event

SINKS = ("fine", "down", "strict", "halted", "busy", "ledger")
KEYS = {"time", "version", "started_at", "ready", "not_ready", "config", "received", "refused", "delivered", "sinks"} | {
    *("quarantined", "unrouted", "disk_free_bytes", "disk_min_free_bytes", "database_bytes", "wal_bytes", "clock_suspect"),
    *("certificate_expires_at", "invariant_violations", "sources", "watches", "reconcile_refused", "outage_budget_seconds"),
    *("attention", "ledger_unjudged", "ledger_filling"),
}


def address(running: Running) -> str:
    host, port = running.addresses["admin"]  # type: ignore[misc]
    return f"{host}:{port}"


def status(running: Running, *arguments: str) -> Result:
    return command("status", *arguments, "--admin", address(running), cwd=running.folder)


def sink(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in document["sinks"] if one["sink"] == name]
    return dict(found)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One message for six sinks: one takes it, two are down, one rejects it, one is paused, one asks to wait."""
    folder = tmp_path_factory.mktemp("trouble")
    (folder / "倉庫の台帳").mkdir()
    with Receiver() as good, Receiver() as bad, Receiver() as busy:
        bad.always, busy.always = (500, {}), (429, {"Retry-After": "650"})
        once = 'retry = ["0s", "1h"]\nbreaker = { failures = 1, probe = "1h" }\n'
        toml = (
            http_sink(good, "fine")
            + http_sink(bad, "down", once)
            + http_sink(bad, "strict", "reject_on = [500]")
            + http_sink(good, "halted")
            + http_sink(busy, "busy")
            + f'[sinks.ledger]\ntype = "jsonl"\npath = "倉庫の台帳/控え.jsonl"\n{once}'
            + route(*SINKS)
        )
        with Running(folder, toml) as running:
            for file in (folder / "倉庫の台帳").iterdir():
                file.unlink()
            (folder / "倉庫の台帳").rmdir()
            assert command("pause", "halted", "--admin", address(running), variables={"SUDO_USER": "鈴木\x1b[2J"}).status == 0
            asyncio.run(_fill(running))
            yield running


async def _fill(running: Running) -> None:
    assert (await running.post(event())).outcome == (200, "accepted")
    assert (await running.post(b"[]")).outcome == (200, "quarantined")
    assert (await running.post(event(), [])).status == 401
    await until(lambda: len(running.audit("sink.opened")) == 2 and running.audit("delivery.dead"))
    await until(lambda: running.rows("SELECT queued FROM counters ORDER BY sink") == [(1,), (1,), (0,), (1,), (1,), (0,)])


def test_show_and_deliveries_say_why_a_delivery_waits(troubled: Running) -> None:
    (one,) = command("messages", "--json", "--limit", "1", "--admin", address(troubled)).out.splitlines()
    told = command("show", json.loads(one)["message_id"], "--admin", address(troubled)).out
    assert "\n  down: queued  held: breaker open  next " in told and "\n  halted: queued  held: paused  next " in told
    assert not any(line.endswith(" ") for line in told.splitlines())
    (held,) = command("deliveries", "--sink", "down", "--admin", address(troubled)).out.splitlines()
    assert "held: breaker open" in held


def test_the_screen_shows_the_state_of_everything_and_what_needs_a_person(troubled: Running) -> None:
    result = status(troubled)
    assert (result.status, result.err) == (1, "")
    lines = result.out.splitlines()
    above, _, needs = result.out.partition("needs a person:\n")
    assert lines[0].startswith("legitmark-gateway ") and "  ready  " in lines[0]
    assert (
        "received     2 a minute; on average since the start 2 a minute\n" in above
        and "refused      1 a minute" in above
        and "delivered    1 a minute" in above
    )
    assert "1 quarantined, 0 unrouted" in above and "paused by admin 0 s ago" in re.sub(r"\d+ s", "0 s", above)
    assert "keeps retrying for about 2 h 35 min" in above
    rows = {words[0]: words[1:] for line in lines if (words := line.split()) and words[0] in SINKS}
    assert rows["fine"] == ["0", "-", "0", "ok"]
    assert rows["strict"] == ["0", "-", "1", "ok"]
    assert rows["down"][:1] + rows["down"][-2:] == ["1", "breaker", "open"]
    assert rows["halted"][0] == "1" and rows["halted"][-1] == "paused"
    assert rows["busy"][0] == "1" and rows["busy"][-1] == "rate-limited" and "it asked to wait for 10 min" in above
    assert "http_status HTTP 500" in above
    told = " ".join(needs.split())
    assert "down: breaker open, 1 waiting" in told and "倉庫の台帳/控え.jsonl: No such file or directory" in told
    assert "gateway deliveries --state dead --sink strict" in told and "gateway drill down" in told
    assert "halted:" not in needs, "it was paused a moment ago"


def test_only_commands_are_wider_than_80_columns_and_a_pipe_gets_no_colour(troubled: Running) -> None:
    result = status(troubled)
    assert "\x1b" not in result.out
    assert [line for line in result.out.splitlines() if cell_len(line) > 80 and not line.startswith("      gateway")] == []


def test_a_terminal_gets_colours_unless_no_color_is_set(troubled: Running) -> None:
    arguments = ("status", "--admin", address(troubled))
    assert "\x1b[1;31mneeds a person:" in shown(*arguments, cwd=troubled.folder)
    assert "\x1b" not in shown(*arguments, cwd=troubled.folder, variables={"NO_COLOR": "1"})


def test_the_same_facts_are_one_document(troubled: Running) -> None:
    result = status(troubled, "--json")
    document = result.document()
    assert result.status == 1 and document.keys() == KEYS
    assert document["ready"] and document["not_ready"] == [] and document["outage_budget_seconds"] == 9305
    assert document["config"]["file"] == str(troubled.config) and document["config"]["refused"] is None
    assert document["config"]["sha256"] == sha256(troubled.config.read_bytes()).hexdigest()
    assert document["database_bytes"] >= 4096 and document["wal_bytes"] > 0 and document["disk_free_bytes"] > 0
    assert (document["quarantined"], document["unrouted"]) == (1, 0)
    assert [one["sink"] for one in document["sinks"]] == list(SINKS)
    assert {one["sink"]: one["state"] for one in document["sinks"]} == {
        "fine": "ok",
        "down": "breaker_open",
        "strict": "ok",
        "halted": "paused",
        "busy": "rate_limited",
        "ledger": "breaker_open",
    }
    down = sink(document, "down")
    assert down["last_error"].keys() == {"time", "reason", "detail", "status"}
    assert (down["queued"], down["dead"], down["last_error"]["reason"], down["last_error"]["status"]) == (
        1,
        0,
        "http_status",
        500,
    )
    assert 0 < down["oldest_seconds"] < 60 and down["next_probe_at"] > document["time"]
    assert sink(document, "halted")["paused_by"] == "admin", "what a request says of who acts is no proof"
    assert [line["claimed"] for line in troubled.audit("sink.paused")] == ["鈴木\x1b[2J"]
    assert "\x1b" not in command("tail", "-n", "50", cwd=troubled.folder).out
    assert [(one["reason"], one["sink"]) for one in document["attention"]] == [
        ("breaker", "down"),
        ("dead", "strict"),
        ("breaker", "ledger"),
    ]


def test_each_command_that_it_names_exists(troubled: Running) -> None:
    """The first command for a sink with dead deliveries lists them."""
    runs = [one["run"].split() for one in status(troubled, "--json").document()["attention"]]
    assert runs[1][0] == "gateway"
    found = command(*runs[1][1:], "--admin", address(troubled), cwd=troubled.folder)
    assert found.status == 0 and len(found.out.splitlines()) == 1
    for run in runs:
        assert command(run[1], "--help").status == 0


def test_a_healthy_gateway_needs_no_person(tmp_path: Path) -> None:
    with Receiver() as receiver, Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        result = status(running)
        assert (result.status, result.err) == (0, "")
        assert result.out.endswith("\nnothing needs a person\n")
        assert status(running, "--json").document()["attention"] == []


def test_a_refused_reload_and_a_missing_sink_need_a_person_until_they_are_mended(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.always = (500, {})
        more = 'retry = ["0s", "1h"]'
        toml = http_sink(receiver, more=more) + http_sink(receiver, "old", more) + route("erp", "old")
        with Running(tmp_path, toml) as running:
            assert asyncio.run(running.post(event())).status == 200
            asyncio.run(until(lambda: len(running.audit("delivery.retrying")) == 2))
            assert status(running).status == 0
            running.write_config(http_sink(receiver, more=more) + route("erp"))
            assert command("reload", "--admin", address(running)).status == 0
            running.write_config("nonsense = true")
            assert command("reload", "--admin", address(running)).status == 78
            document = status(running, "--json").document()
            assert [one["reason"] for one in document["attention"]] == ["reload", "held"]
            assert "nonsense" in document["config"]["refused"]["detail"]
            assert (sink(document, "old")["state"], sink(document, "old")["queued"]) == ("held", 1)
            screen = status(running).out
            assert "held: no such sink" in screen and f"gateway check {running.config}" in screen
            running.write_config(toml)
            assert command("reload", "--admin", address(running)).status == 0
            assert status(running).status == 0


def test_the_last_error_is_known_after_a_restart(tmp_path: Path) -> None:
    """A person who is called at night has often restarted the gateway before looking."""
    with Receiver() as receiver:
        receiver.always = (500, {})
        with Running(tmp_path, http_sink(receiver, more="reject_on = [500]") + route("erp")) as running:
            assert asyncio.run(running.post(event())).status == 200
            asyncio.run(until(lambda: running.audit("delivery.dead")))
            before = sink(status(running, "--json").document(), "erp")["last_error"]
            asyncio.run(running.restart())
            after = sink(status(running, "--json").document(), "erp")["last_error"]
    assert before == after and (after["reason"], after["detail"]) == ("http_status", "HTTP 500 Internal Server Error")


def test_it_says_so_if_no_gateway_answers(folder: Path, free_port: Any) -> None:
    for arguments in ([], ["--json"]):
        result = command("status", *arguments, "--admin", f"127.0.0.1:{free_port()}", cwd=folder)
        assert (result.status, result.out) == (69, "") and "gateway serve" in result.err


def test_a_gateway_that_hangs_is_distinguished_from_one_that_does_not_run(tmp_path: Path) -> None:
    with Running(tmp_path, "") as running:
        assert running.process is not None
        running.process.send_signal(signal.SIGSTOP)
        try:
            result = status(running)
        finally:
            running.process.send_signal(signal.SIGCONT)
        assert result.status == 69
        assert "does not answer in time" in result.err
