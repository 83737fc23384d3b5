"""`gateway replay` as a backfill: to a new sink, of unrouted and quarantined messages, by window and by state."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bench import Bench, replayed
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event

_ROUTES = '[[routes]]\nmatch = { event_type = "state_change" }\nsinks = ["erp"]\n' + route("desk", source="gateway")


class World(Bench):
    """A dead delivery, a delivered one, an unrouted message, a quarantined one, and the gateway's two events about these.

    The sink `crm` is new: no message was ever routed to it.
    """

    def __init__(self, running: Running, receiver: Receiver) -> None:
        super().__init__(running, receiver)
        receiver.script.append((500, {}))
        for sender, body in {
            "dead": event("sr-1"),
            "made": event("sr-2"),
            "unrouted": event("sr-3", event_type="news"),
            "quarantined": b"no JSON",
        }.items():
            asyncio.run(self.settle(body, sender))
        asyncio.run(until(lambda: len(self.owed("desk")) == 2, 20))
        assert (self.owed("erp"), self.owed("crm")) == (["dead", "delivered"], [])

    @staticmethod
    def config(receiver: Receiver, routes: str) -> str:
        more = 'retry = ["0s"]\nbreaker = { failures = 100 }'
        return "".join(http_sink(receiver, name, more) for name in ("erp", "crm", "desk")) + routes

    def owed(self, sink: str) -> list[str]:
        return [state for (state,) in self.running.rows("SELECT state FROM deliveries WHERE sink = ? ORDER BY message", sink)]

    def senders(self, sink: str) -> set[str]:
        """Return the sender ids of a sink's deliveries; the gateway's own events count as `notice`."""
        query = "SELECT m.sender_id FROM deliveries d JOIN messages m ON m.seq = d.message WHERE d.sink = ?"
        return {sender.decode() if sender else "notice" for (sender,) in self.running.rows(query, sink)}

    def would(self, *arguments: str) -> dict[str, Any]:
        """Return the document of a dry run."""
        document = self.run("replay", *arguments, "--dry-run", "--json").document()
        assert isinstance(document, dict)
        return document

    def replay(self, *arguments: str) -> dict[str, Any]:
        result = self.run("replay", *arguments, "--yes", "--json")
        assert result.status == 0, result.err
        asyncio.run(until(lambda: self.running.rows("SELECT 1 FROM deliveries WHERE state = 'queued'") == [], 20))
        document = result.document()
        assert isinstance(document, dict)
        return document

    def restart(self, routes: str) -> None:
        self.running.write_config(self.config(self.receiver, routes))
        asyncio.run(self.running.restart())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Receiver() as receiver, Running(tmp_path, World.config(receiver, _ROUTES)) as running:
        yield World(running, receiver)


def test_a_new_sink_gets_the_decoded_messages_and_no_event_of_the_gateway(world: World) -> None:
    assert world.run("replay", "--sink", "crm", "--since", "1h", "--dry-run").out == "3 deliveries to replay: 3 new\n"
    assert world.replay("--sink", "crm", "--since", "1h") == replayed(3, 3, new=3)
    assert world.senders("crm") == {"dead", "made", "unrouted"}
    assert world.owed("erp") == ["dead", "delivered"], "nobody else gets anything"
    assert world.replay("--sink", "crm", "--since", "1h") == replayed(0, 0)


def test_a_repaired_sink_gets_its_dead_deliveries_and_messages_that_it_never_had(world: World) -> None:
    assert world.run("replay", "--sink", "erp", "--since", "1h", "--dry-run").out == "2 deliveries to replay: 1 dead, 1 new\n"
    assert world.replay("--sink", "erp", "--since", "1h") == replayed(2, 2, dead=1, new=1)
    assert world.senders("erp") == {"dead", "made", "unrouted"} and world.owed("erp") == ["delivered"] * 3
    assert len(world.receiver.of(world.receiver.requests[0].body)) == 2, "the dead one once more"


def test_dead_deliveries_of_a_sink_are_replayed_without_a_backfill(world: World) -> None:
    assert world.would("--state", "dead", "--sink", "crm", "--since", "2h") == {"count": 0, "changed": 0, "dead": 0}
    assert world.would("--state", "dead", "--sink", "erp", "--until", "2h") == {"count": 0, "changed": 0, "dead": 0}
    assert world.would("--state", "dead") == {"count": 1, "changed": 0, "dead": 1}
    assert world.replay("--state", "dead", "--sink", "erp", "--since", "2h") == {"count": 1, "changed": 1, "dead": 1}
    assert world.owed("erp") == ["delivered", "delivered"] and world.owed("crm") == []


@pytest.mark.parametrize("other", ["--delivered", "--reroute", "--unrouted", "--quarantined"])
def test_state_dead_can_not_be_combined_with_other_selections(world: World, other: str) -> None:
    result = world.run("replay", "--state", "dead", other, "--yes")
    assert result.status == 2 and other in result.err
    assert world.owed("erp") == ["dead", "delivered"]


def test_sink_and_reroute_can_not_be_combined(world: World) -> None:
    assert world.run("replay", "--sink", "crm", "--reroute", "--since", "1h", "--yes").status == 2
    assert world.owed("crm") == []


def test_delivered_ones_are_replayed_only_with_the_option_delivered(world: World) -> None:
    count = world.run("replay", "--delivered", "--since", "1h", "--dry-run").out
    assert count == "4 deliveries to replay: 1 dead, 3 delivered\n", "two of them notices"
    assert world.replay("sr-2", "--delivered") == replayed(1, 1, delivered=1)
    assert world.replay("sr-2") == replayed(0, 0)
    (line,) = world.running.audit("delivery.replayed")
    assert (line["sender_id"], line["sink"]) == ("made", "erp")


def test_quarantined_messages_go_to_a_sink_with_the_option_quarantined(world: World) -> None:
    assert world.replay("--quarantined", "--sink", "crm") == replayed(1, 1, new=1)
    assert world.senders("crm") == {"quarantined"}
    assert [one.body for one in world.receiver.requests if one.path == "/crm"] == [b"no JSON"]


def test_an_event_of_the_gateway_and_a_quarantined_message_go_to_a_sink_by_their_ids(world: World) -> None:
    ids = [id_ for (id_,) in world.running.rows("SELECT id FROM messages WHERE source = 'gateway' ORDER BY seq")]
    assert world.replay(ids[0], "quarantined", "--sink", "crm") == replayed(2, 2, new=2)
    assert world.senders("crm") == {"notice", "quarantined"}


def test_unrouted_messages_go_by_the_present_routes(world: World) -> None:
    assert world.replay("--unrouted") == replayed(0, 0), "no rule of this moment wants it"
    world.restart(_ROUTES + '[[routes]]\nmatch = { event_type = "news" }\nsinks = ["crm", "desk"]\n')
    assert world.replay("--unrouted") == replayed(2, 2, new=2)
    assert world.senders("crm") == {"unrouted"}
    assert world.replay("--unrouted") == replayed(0, 0)


def test_quarantined_messages_go_by_the_present_routes(world: World) -> None:
    assert world.replay("--quarantined") == replayed(0, 0)
    world.restart(_ROUTES + route("crm"))
    assert world.replay("--quarantined") == replayed(1, 1, new=1)
    assert world.senders("crm") == {"quarantined"}


def test_a_reroute_adds_the_sinks_of_the_present_routes_to_the_selected_messages_alone(world: World) -> None:
    world.restart(route("crm") + route("crm", source="gateway"))
    assert world.would("--since", "1h") == replayed(1, 0, dead=1)
    assert world.replay("--reroute", "--since", "1h") == replayed(4, 4, dead=1, new=3)
    assert world.senders("crm") == {"dead", "made", "unrouted"} and world.owed("erp") == ["delivered"] * 2


def test_an_act_keeps_to_its_window(world: World) -> None:
    ids = ("dead", "made", "unrouted")
    times = [world.lines("messages", "--id", one)[0]["time"] for one in ids]
    assert len(set(times)) == 3
    for arguments, count in (
        (["--since", times[0]], 3),
        (["--since", times[1]], 2),
        (["--until", times[1]], 1),
        (["--since", times[1], "--until", times[2]], 1),
        (["--until", times[0]], 0),
    ):
        assert world.would("--sink", "crm", *arguments)["count"] == count, arguments
        dead = world.run("discard", "--state", "dead", *arguments, "--dry-run", "--json").document()["count"]
        assert dead == (times[0] >= arguments[1] if arguments[0] == "--since" else times[0] < arguments[1]), arguments
    assert world.replay("--sink", "crm", "--since", times[1], "--until", times[2]) == replayed(1, 1, new=1)
    assert world.senders("crm") == {"made"}
    assert world.run("discard", "--since", times[1], "--yes", "--json").document()["changed"] == 0
    assert world.run("discard", "--until", times[1], "--yes", "--json").document()["changed"] == 1
    assert world.owed("erp") == ["discarded", "delivered"]
