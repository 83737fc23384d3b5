"""How long a service request may stay in a state: when a timer is due, and how many events may come of many."""

from __future__ import annotations

import pytest
from msgspec import structs

from gateway.core.events import State
from gateway.core.values import Duration
from gateway.core.watches import (
    MOST_IN_A_MINUTE,
    MOST_NAMED,
    Entered,
    Pace,
    Timer,
    Watch,
    due_at,
    entering,
    stall_values,
    summary_values,
)
from tests.fakes import START

QC = Watch("QC longer than 4 h", ("QC/PENDING",), Duration("4h"))
ANY_QC = Watch("any QC", ("QC", "UNDERWAY/PENDING"), Duration("8h"))
HOUR = 3600.0


def entered(state: str = "QC/PENDING", *, at: float = START, arrived: float = START) -> Entered:
    return Entered("legitmark", "sr-1", "BAG-1", state, at, arrived)


@pytest.mark.parametrize(
    ("state", "rules"),
    [
        ("QC/PENDING", ("QC longer than 4 h", "any QC")),
        ("QC/REJECTED", ("any QC",)),
        ("QC", ("any QC",)),
        ("QCX/PENDING", ()),
        ("UNDERWAY/PENDING", ("any QC",)),
        ("UNDERWAY", ()),
        ("CANCELLED", ()),
    ],
)
def test_a_state_begins_the_timers_of_the_rules_that_name_it_or_its_primary_part(state: str, rules: tuple[str, ...]) -> None:
    begun = entering([QC, ANY_QC], entered(state))
    assert begun.rules == rules


def test_a_state_without_a_supplement_is_written_as_its_primary_part() -> None:
    assert (State("QC", "PENDING").text, State("CANCELLED").text) == ("QC/PENDING", "CANCELLED")


@pytest.mark.parametrize(
    ("at", "arrived", "due"),
    [
        (START, START + 1, START + 4 * HOUR),  # by the instant of the event
        (START, START + 3 * HOUR, START + 4 * HOUR),  # although it came late
        (START, START + 9 * HOUR, START + 9 * HOUR + 60),  # it came too late: the next state may follow at once
        (START, START + 4 * HOUR - 1, START + 4 * HOUR + 59),
    ],
)
def test_a_timer_counts_from_the_event_and_leaves_a_minute_after_its_arrival(at: float, arrived: float, due: float) -> None:
    assert due_at(QC, entered(at=at, arrived=arrived)) == due


def test_at_most_twenty_events_and_one_summary_come_in_a_minute() -> None:
    pace = Pace()
    assert [pace.decide(1, now) for now in range(MOST_IN_A_MINUTE)] == ["each"] * MOST_IN_A_MINUTE
    assert pace.decide(1, 30.0) == "summary"
    assert pace.decide(500, 59.0) == "wait"
    assert pace.decide(500, 60.0) == "summary"
    assert pace.decide(20, 61.0) == "each"
    assert pace.decide(1, 62.0) == "wait"


def test_more_than_twenty_at_once_are_one_summary() -> None:
    assert Pace().decide(MOST_IN_A_MINUTE, 0.0) == "each"
    assert Pace().decide(MOST_IN_A_MINUTE + 1, 0.0) == "summary"


def test_an_event_names_the_request_the_state_since_when_and_the_rule() -> None:
    assert stall_values(Timer(QC.name, entered()), QC) == {
        "watch": "QC longer than 4 h",
        "source": "legitmark",
        "sr_uuid": "sr-1",
        "reference_id": "BAG-1",
        "state": {"primary": "QC", "supplement": "PENDING"},
        "since": "2026-02-25T06:13:20.000Z",
        "count": 1,
        "detail": "QC/PENDING since 2026-02-25T06:13:20.000Z, longer than 4h",
    }


def test_a_summary_counts_by_rule_and_names_the_first() -> None:
    timers = [Timer("a", structs.replace(entered(), sr_uuid=f"sr-{number}")) for number in range(30)] + [Timer("b", entered())]
    values = summary_values(timers, more=True)
    assert (values["count"], values["more"], values["watch"], values["detail"]) == (31, True, None, "a: 30; b: 1; …")
    assert [one["sr_uuid"] for one in values["requests"]] == [f"sr-{number}" for number in range(MOST_NAMED)]
    assert summary_values(timers[:30], more=False)["watch"] == "a"
