"""`gateway replay` and `gateway discard` at a terminal: the question, and the progress bar of a long act."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.bench import Bench
from tests.cli.terminal import at_a_terminal
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event, signed

_MANY = 450
"""Deliveries; the gateway handles them in three slices."""


@pytest.fixture
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A number of dead deliveries, all of one reference id, to a sink that still refuses everything."""
    number = getattr(request, "param", 2)
    with Receiver() as receiver:
        receiver.always = (410, {})
        more = "reject_on = [410]\nbreaker = { failures = 1000 }"
        with Running(tmp_path, http_sink(receiver, more=more) + route("erp")) as running:
            bench = Bench(running, receiver)
            asyncio.run(_fill(bench, number))
            yield bench


async def _fill(bench: Bench, number: int) -> None:
    for first in range(0, number, 50):
        bodies = [event(reference_id="BAG-7") for _ in range(first, min(first + 50, number))]
        answers = await asyncio.gather(*(bench.running.post(body, signed(body)) for body in bodies))
        assert {answer.outcome for answer in answers} == {(200, "accepted")}
    await _all_are(bench, "dead", number)


async def _all_are(bench: Bench, state: str, number: int) -> None:
    query = "SELECT count(*) FROM deliveries WHERE state = ?"
    await until(lambda: bench.running.rows(query, state) == [(number,)], 20)


@pytest.mark.parametrize("typed", ["n\n", "\n", "\x04", "no\n", "yellow\n"], ids=repr)
@pytest.mark.parametrize("what", ["replay", "discard"])
def test_no_answer_but_yes_changes_anything(bench: Bench, what: str, typed: str) -> None:
    arguments = [what, "--state", "dead", "--admin", bench.admin]
    result, seen = at_a_terminal(*arguments, cwd=bench.running.folder, typed=typed)
    assert result.status == 1 and f"{what.capitalize()} them? [y/N]" in seen and "Traceback" not in seen
    assert result.out == f"2 deliveries to {what}: 2 dead\n"
    assert bench.states() == ["dead", "dead"]
    assert bench.running.audit(f"delivery.{what}ed") == []


@pytest.mark.parametrize("typed", ["y\n", "Yes\n"], ids=repr)
def test_a_yes_does_it(bench: Bench, typed: str) -> None:
    result, seen = at_a_terminal("discard", "--state", "dead", "--admin", bench.admin, cwd=bench.running.folder, typed=typed)
    assert result.status == 0 and seen.count("[y/N]") == 1
    assert result.out == "2 deliveries to discard: 2 dead\n2 done\n"
    assert bench.states() == ["discarded", "discarded"]


def test_yes_as_an_option_asks_nothing(bench: Bench) -> None:
    arguments = ["discard", "--state", "dead", "--yes", "--admin", bench.admin]
    result, seen = at_a_terminal(*arguments, cwd=bench.running.folder, typed="n\n")
    assert result.status == 0 and "[y/N]" not in seen
    assert bench.states() == ["discarded", "discarded"]


@pytest.mark.parametrize("bench", [_MANY], indirect=True)
def test_an_act_of_several_slices_shows_its_progress(bench: Bench) -> None:
    replayed, seen = at_a_terminal("replay", "--state", "dead", "--admin", bench.admin, cwd=bench.running.folder, typed="y\n")
    assert replayed.out == f"{_MANY} deliveries to replay: {_MANY} dead\n{_MANY} done\n"
    bar = seen.partition("[y/N]")[2]
    assert "replay" in bar and "━" in bar and "100%" in bar
    assert len(bench.running.audit("delivery.replayed")) == _MANY
    asyncio.run(_all_are(bench, "dead", _MANY))

    discarded, seen = at_a_terminal("discard", "BAG-7", "--admin", bench.admin, cwd=bench.running.folder, typed="y\n")
    first, said, *named, more, last = discarded.out.splitlines()
    assert (first, last) == (f"{_MANY} deliveries to discard: {_MANY} dead", f"{_MANY} done")
    assert (said, more) == (f"BAG-7 stands for {_MANY} service requests:", f"  and {_MANY - len(named)} more")
    bar = seen.partition("[y/N]")[2]
    assert "discard" in bar and "━" in bar and "100%" in bar
    asyncio.run(_all_are(bench, "discarded", _MANY))

    shown = bench.run("show", "BAG-7", "--json")
    assert len(shown.document()) == 100 and '"BAG-7"' in shown.err and "gateway messages --id" in shown.err
    assert len(bench.lines("messages", "--id", "BAG-7", "--limit", "1000")) == _MANY
    piped = bench.run("messages", "--json", "--limit", "3")
    assert len(piped.out.splitlines()) == 3 and "--limit" in piped.err
