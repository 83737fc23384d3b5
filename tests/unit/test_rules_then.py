"""The rules of then decide and explain as those that were in use did, whatever patterns they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config import load
from gateway.config.files import read
from gateway.config.rules import header_lines
from gateway.core.events import Event, decode
from gateway.core.ledger import Facts
from gateway.core.patterns import compile_pattern
from gateway.core.routing import Route, Router
from gateway.core.rules_then import read_rules, rules_then
from gateway.core.why_not import why_not
from gateway.host.environment import Environment
from tests.support.webhooks import PAYLOADS

PATTERNS: list[dict[str, Any]] = [
    {"milestone": ["authentic", "counterfeit"]},
    {"state": {"primary": "QC"}, "reference_id": {"prefix": ["BAG-", "品物-"]}},
    {"reference_id": {"glob": "SNK-*-EU4?", "not": {"regex": "SNK-0.*"}}},
    {"sides.reason": "blurry"},
    {"stale": True, "round": {"gte": 2}},
    {"n": {"gt": 10**30, "lte": 1.5e300}},
    {"note": {"exists": False}},
]
LATE = Facts(round=2, before="COMPLETE/APPROVED", stale=True)


def routes() -> list[Route]:
    made = []
    for number, raw in enumerate(PATTERNS):
        pattern, problems = compile_pattern(raw)
        assert not problems
        made.append(Route(name=f"route {number}", sinks=(f"sink {number}", "all"), match=(pattern,)))
    made.append(Route(name="not", sinks=("rest",), unless=(made[0].match[0],), sources=("legitmark", "other"), final=True))
    made.append(Route(name="joined", sinks=("desk",), match=(made[0].match[0],), join=30.0))
    made.append(Route(name="own", sinks=("ops",), sources=("gateway",)))
    return [*made, Route(name="last", sinks=("archive",), fallback=True)]


EVENTS = [
    decode(body)
    for body in (
        *(file.read_bytes() for file in sorted(PAYLOADS.glob("*.json"))),
        b'{"event_type":"state_change","state":{"primary":"QC"},"reference_id":"BAG-1"}',
        '{"event_type":"x","reference_id":"品物-1","n":9999999999999999999999999999999999}'.encode(),
    )
]


@pytest.mark.parametrize("facts", [None, LATE])
@pytest.mark.parametrize("source", ["legitmark", "gateway", "unknown"])
def test_rules_that_were_kept_decide_and_explain_as_they_did(source: str, facts: Facts | None) -> None:
    router = Router(routes())
    then = read_rules(rules_then(routes(), ["a:1"] * len(routes()), ["all"]).encode())
    looked_at = [event for event in EVENTS if isinstance(event, Event)]
    assert len(looked_at) > 5
    for event in looked_at:
        decision, traces = router.route(event, source, facts), router.explain(event, source, facts)
        assert then.router.route(event, source, facts) == decision
        again = then.router.explain(event, source, facts)
        assert [why_not(one, judged=True) for one in again] == [why_not(one, judged=True) for one in traces]
        suppressed = then.decide(event, source, facts).suppressed
        assert suppressed == (("all",) if facts is LATE and "all" in decision.sinks else ())


def test_equal_rules_have_equal_snapshots_and_others_do_not() -> None:
    def snapshot(place: str) -> bytes:
        return rules_then(routes(), [place] * len(routes()), []).encode()

    assert snapshot("a:1") == snapshot("a:1") != snapshot("a:2")


def test_an_explanation_may_be_limited_to_some_routes() -> None:
    event = next(event for event in EVENTS if isinstance(event, Event))
    assert [one.name for one in Router(routes()).explain(event, "legitmark", only=["last", "route 3"])] == ["route 3", "last"]


def test_a_snapshot_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected"):
        read_rules(b"[]")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('[[routes]]\nname = "a"\nsinks = []\n\n  [[ routes ]] # b\nsinks = []\n', (1, 5)),
        ("routes = [{ sinks = [] }, { sinks = [] }]\n", (0, 0)),
        ('[[routes]]\nname = """\n[[routes]]\n"""\nsinks = []\n', (0,)),
        ("", ()),
    ],
)
def test_the_line_of_each_route_is_known_if_it_is_written_as_a_table(tmp_path: Path, text: str, lines: tuple[int, ...]) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text, encoding="utf-8")
    assert header_lines([read(file)]) == lines


def test_the_example_has_a_line_for_each_of_its_routes() -> None:
    config = load(Path("gateway.toml.example"), Environment({}), secrets=False)
    texts = config.file.read_text(encoding="utf-8").splitlines()
    assert config.rules and [texts[line - 1] for line in config.route_lines] == ["[[routes]]"] * len(config.rules)
