"""The gateway's own events take only routes that ask for their source, by `source` or by a pattern on `source`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config import load
from gateway.core.events import event_of
from gateway.core.patterns import compile_pattern
from gateway.core.routing import GATEWAY, Route, Router
from gateway.host.environment import Environment
from tests.support.webhooks import SECRET

DEAD = event_of({"event_type": "gateway.delivery_dead", "sink": "erp"})


def route(
    *match: dict[str, Any], source: str | None = None, unless: dict[str, Any] | None = None, fallback: bool = False
) -> Route:
    return Route(
        name="r",
        sinks=("s",),
        match=tuple(compile_pattern(table)[0] for table in match),
        unless=(compile_pattern(unless)[0],) if unless else (),
        sources=(source,) if source else (),
        fallback=fallback,
    )


@pytest.mark.parametrize(
    ("rule", "applies"),
    [
        (route(), False),
        (route(fallback=True), False),
        (route(source="legitmark"), False),
        (route({"event_type": "gateway.delivery_dead"}), False),
        (route({"event_type": {"prefix": "gateway."}}, {"sink": "erp"}), False),
        (route(unless={"source": "legitmark"}), False),
        (route(source=GATEWAY), True),
        (route(source=GATEWAY, fallback=True), True),
        (route({"sink": "erp"}, source=GATEWAY), True),
        (route({"source": GATEWAY}), True),
        (route({"source": GATEWAY}, fallback=True), True),
        (route({"source": ["legitmark", GATEWAY]}), True),
        (route({"source": {"prefix": "gate"}}), True),
        (route({"source": {"glob": "*"}}), True),
        (route({"source": {"not": "legitmark"}}), True),
        (route({"source": {"not": GATEWAY}}), False),
        (route({"source": "legitmark"}, {"sink": "erp"}), False),  # each pattern of a list speaks for itself
        (route({"source": GATEWAY, "sink": "other"}, {"sink": "erp"}), False),
        (route({"source": GATEWAY, "sink": "erp"}, {"sink": "other"}), True),
    ],
)
def test_a_route_gets_them_only_if_it_asks_for_their_source(rule: Route, applies: bool) -> None:
    router = Router([rule])
    assert bool(router.route(DEAD, GATEWAY).routes) is applies
    (trace,) = router.explain(DEAD, GATEWAY)
    assert trace.matched is applies and (trace.failed is None) is applies


def test_a_route_without_a_source_still_takes_every_event_of_a_sender() -> None:
    assert Router([route()]).route(DEAD, "legitmark").routes == ("r",)


def test_a_final_route_that_does_not_ask_stops_no_notice() -> None:
    closing = Route(name="all", sinks=("s",), final=True)
    assert Router([closing, route(source=GATEWAY)]).route(DEAD, GATEWAY).routes == ("r",)


def notes_of(folder: Path, routes: str) -> list[str]:
    file = folder / "gateway.toml"
    file.write_text(
        '[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n[sinks.archive]\ntype = "jsonl"\npath = "e.jsonl"\n'
        + routes
    )
    config = load(file, Environment({"LEGITMARK_SECRET": SECRET}))
    assert config.warnings == ()
    return [problem.wrong for problem in config.notes]


@pytest.mark.parametrize(
    ("routes", "noted"),
    [
        ('[[routes]]\nsinks = ["archive"]\n', True),
        ('[[routes]]\nsinks = ["archive"]\n[[routes]]\nsource = "gateway"\nsinks = []\n', True),
        (
            '[[routes]]\nsinks = ["archive"]\n[[routes]]\nsource = "gateway"\nsinks = ["archive"]\n'
            'match = { event_type = "gateway.sink_opened" }\n',
            True,
        ),
        ('[[routes]]\nsinks = ["archive"]\n[[routes]]\nsource = "gateway"\nsinks = ["archive"]\n', False),
        (
            '[[routes]]\nsinks = ["archive"]\nfinal = true\n[[routes]]\nmatch = { source = "gateway" }\nsinks = ["archive"]\n',
            False,
        ),
        ('[[routes]]\nsinks = ["archive"]\n[[routes]]\nfallback = true\nsource = "gateway"\nsinks = ["archive"]\n', False),
    ],
)
def test_check_notes_that_no_route_reports_dead_deliveries(routes: str, noted: bool, tmp_path: Path) -> None:
    assert bool(notes_of(tmp_path, routes)) is noted


@pytest.mark.parametrize("asks", [False, True])
def test_check_notes_that_no_route_reports_what_a_rule_watches(asks: bool, tmp_path: Path) -> None:
    routes = '[[routes]]\nsource = "gateway"\nsinks = ["archive"]\n'
    routes += "" if asks else 'match = { event_type = "gateway.delivery_dead" }\n'
    watch = '[[watch]]\nname = "QC"\nstate = "QC/PENDING"\nafter = "4h"\n'
    assert notes_of(tmp_path, routes) == []
    assert bool(notes_of(tmp_path, routes + watch)) is not asks
