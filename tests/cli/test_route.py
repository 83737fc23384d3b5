"""`gateway route`: where an event would go, and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.core.samples import SAMPLES
from tests.cli.running import gateway
from tests.support.webhooks import PAYLOADS

COUNTERFEIT = PAYLOADS / "state_change.complete_rejected.json"


def test_a_sample_shows_its_milestone_each_route_and_the_sinks(folder: Path) -> None:
    result = gateway("route", "counterfeit", cwd=folder)
    assert (result.status, result.err) == (0, "")
    assert "milestone counterfeit" in result.out
    assert "+ counterfeits" in result.out
    assert 'reference_id: expected {"prefix": "BAG-"}, is "ITEM-1042"' in next(
        line for line in result.out.splitlines() if "- bags " in line
    )
    assert result.out.endswith("-> fraud_desk, archive\n")


@pytest.mark.parametrize("name", ["authentic", "needs_resubmission_ja"])
def test_an_event_without_a_route_is_called_unrouted(name: str, folder: Path) -> None:
    assert gateway("route", name, cwd=folder).out.endswith("-> nobody: unrouted\n")


def test_an_event_whose_route_has_no_sinks_is_not_called_unrouted(folder: Path) -> None:
    assert gateway("route", "cancelled", cwd=folder).out.endswith("-> nobody, on purpose\n")


def test_a_file_and_standard_input_are_events_too(folder: Path) -> None:
    from_file = gateway("route", COUNTERFEIT, cwd=folder)
    from_stdin = gateway("route", "-", cwd=folder, stdin=COUNTERFEIT.read_bytes())
    assert from_file.status == 0
    assert from_file == from_stdin
    assert "-> fraud_desk, archive" in from_file.out


def test_set_changes_fields_and_may_be_repeated(folder: Path) -> None:
    arguments = ("--set", "state.supplement=REJECTED", "--set", "reference_id=BAG-1", "--json")
    document = gateway("route", "authentic", *arguments, cwd=folder).document()
    assert document["milestone"] == "counterfeit"
    assert [route["name"] for route in document["routes"] if route["matched"]] == ["counterfeits", "bags"]


def test_set_before_the_event_works_the_same(folder: Path) -> None:
    after = gateway("route", "authentic", "--set", "reference_id=BAG-1", "--json", cwd=folder)
    assert gateway("route", "--set", "reference_id=BAG-1", "authentic", "--json", cwd=folder) == after
    assert after.document()["sinks"] == ["archive"]


def test_set_to_null_removes_a_field(folder: Path) -> None:
    failed = gateway("route", "authentic", "--set", "reference_id=null", "--json", cwd=folder).document()["routes"][1]["failed"]
    assert failed["actual"] is None


@pytest.mark.parametrize("value", ["NaN", "-Infinity"])
def test_set_takes_a_value_that_is_not_json_as_text(value: str, folder: Path) -> None:
    document = gateway("route", "authentic", "--set", f"reference_id={value}", "--json", cwd=folder).document()
    assert document["routes"][1]["failed"]["actual"] == value


@pytest.mark.parametrize("assignment", ["reference_id", "=x", "a..b=1", "reference_id.x=1"])
def test_set_without_a_path_and_a_value_is_a_usage_error(assignment: str, folder: Path) -> None:
    result = gateway("route", "authentic", "--set", assignment, cwd=folder)
    assert (result.status, result.out) == (2, "")
    assert assignment.partition("=")[0] in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("expected", ["fraud_desk,archive", " archive , fraud_desk "])
def test_expect_is_a_set_and_ends_with_0_if_it_is_exact(expected: str, folder: Path) -> None:
    assert gateway("route", "counterfeit", "--expect", expected, cwd=folder).status == 0


@pytest.mark.parametrize("expected", ["archive", "archive,fraud_desk,erp", ""])
def test_expect_ends_with_1_if_it_differs_and_shows_the_expected_sinks(expected: str, folder: Path) -> None:
    result = gateway("route", "counterfeit", "--expect", expected, cwd=folder)
    assert result.status == 1
    assert result.out.splitlines()[-1].startswith("expected ")


def test_expect_says_which_sinks_are_missing_and_which_are_too_many(folder: Path) -> None:
    last = gateway("route", "counterfeit", "--expect", "archive,erp", cwd=folder).out.splitlines()[-1]
    assert last == "expected archive, erp: erp is missing (there is no such sink), fraud_desk is not expected"
    assert gateway("route", "authentic", "--expect", "archive", cwd=folder).out.endswith("expected archive: archive is missing\n")
    nobody = gateway("route", "counterfeit", "--expect", "", cwd=folder).out.splitlines()[-1]
    assert nobody == "expected nobody: archive is not expected, fraud_desk is not expected"


@pytest.mark.parametrize("name", ["cancelled", "authentic"])
def test_an_empty_expect_means_no_sink(name: str, folder: Path) -> None:
    assert gateway("route", name, "--expect", "", cwd=folder).status == 0


def test_expect_works_with_json_too_and_prints_one_document(folder: Path) -> None:
    result = gateway("route", "counterfeit", "--expect", "erp", "--json", cwd=folder)
    assert result.status == 1
    assert result.document()["sinks"] == ["fraud_desk", "archive"]
    assert "erp is missing" in result.err


def test_json_has_exactly_the_documented_keys(folder: Path) -> None:
    document = gateway("route", "counterfeit", "--json", cwd=folder).document()
    assert list(document) == ["sinks", "milestone", "identity", "routes"]
    assert document["sinks"] == ["fraud_desk", "archive"]
    assert document["milestone"] == "counterfeit"
    sample = SAMPLES["counterfeit"]
    assert json.loads(document["identity"]) == ["state_change", sample["sr_uuid"], "COMPLETE", "REJECTED", sample["timestamp"]]
    assert [route["name"] for route in document["routes"]] == ["counterfeits", "bags", "cancellations, on purpose"]
    for route in document["routes"]:
        assert list(route) == ["name", "matched", "failed"]
        assert route["matched"] == (route["failed"] is None)
        assert route["matched"] or list(route["failed"]) == ["path", "expected", "actual", "line", "column", "file"]
    failed = document["routes"][1]["failed"]
    assert (failed["path"], failed["expected"], failed["actual"]) == ("reference_id", {"prefix": "BAG-"}, "ITEM-1042")


def test_it_needs_no_secret(folder: Path) -> None:
    assert gateway("route", "authentic", cwd=folder, variables={"LEGITMARK_SECRET": ""}).status == 0


def test_the_gateway_itself_is_a_source_too(folder: Path) -> None:
    more = '[[routes]]\nname = "somebody is told"\nsource = "gateway"\nsinks = ["archive"]\n'
    (folder / "gateway.toml").write_text((folder / "gateway.toml").read_text() + more)
    assert gateway("route", "authentic", cwd=folder).out.endswith("-> nobody: unrouted\n")
    assert gateway("route", "authentic", "--source", "gateway", cwd=folder).out.endswith("-> archive\n")


@pytest.mark.parametrize(
    ("typed", "meant"), [("authentik", "authentic"), ("counterfiet", "counterfeit"), ("cancled", "cancelled")]
)
def test_a_misspelt_sample_gets_a_suggestion(typed: str, meant: str, folder: Path) -> None:
    result = gateway("route", typed, cwd=folder)
    assert (result.status, result.out) == (2, "")
    assert f'did you mean "{meant}"?' in result.err


def test_an_unknown_source_is_a_usage_error_that_names_the_known_ones(folder: Path) -> None:
    result = gateway("route", "authentic", "--source", "other", cwd=folder)
    assert result.status == 2
    assert "legitmark" in result.err


@pytest.mark.parametrize("body", [b"", b"[1]", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000])
def test_an_event_that_would_be_quarantined_is_a_usage_error(body: bytes, folder: Path) -> None:
    (folder / "body").write_bytes(body)
    result = gateway("route", "body", cwd=folder)
    assert (result.status, result.out) == (2, "")
    assert "quarantined" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("body", [b"[1]", b"\xff", b"[" * 100_000])
def test_set_on_an_event_that_is_not_an_object_is_a_usage_error(body: bytes, folder: Path) -> None:
    (folder / "body").write_bytes(body)
    result = gateway("route", "body", "--set", "a=1", cwd=folder)
    assert (result.status, result.out) == (2, "")
    assert "Traceback" not in result.err


def test_warnings_about_the_configuration_go_to_stderr(folder: Path) -> None:
    (folder / "gateway.toml").write_text(
        (folder / "gateway.toml").read_text() + '[sinks.spare]\ntype = "jsonl"\npath = "spare.jsonl"\n'
    )
    result = gateway("route", "authentic", "--json", cwd=folder)
    assert result.document()["milestone"] == "authentic"
    assert "no route names this sink" in result.err


@pytest.mark.parametrize("depth", [100, 500, 900])
def test_an_event_of_any_depth_is_explained(depth: int, folder: Path) -> None:
    (folder / "deep.json").write_text('{"reference_id": ' + "[" * depth + "]" * depth + "}")
    for options in ([], ["--json"], ["--render", "archive"]):
        result = gateway("route", "deep.json", *options, cwd=folder)
        assert result.status in (0, 2)
        assert "Traceback" not in result.err


@pytest.mark.parametrize("field", ["event_type", "reference_id"])
def test_the_text_of_an_event_can_not_draw_on_the_terminal(field: str, folder: Path) -> None:
    hostile = "\x1b[31mred \x1b]0;title\x07 \x9b31m \u202egnp.exe two\nlines \x7f"
    (folder / "event.json").write_text(json.dumps({"event_type": "a", "reference_id": "b"} | {field: hostile}))
    result = gateway("route", "event.json", cwd=folder)
    assert result.status == 0
    lines = result.out.removesuffix("\n").split("\n")
    assert [line for line in lines if not line.isprintable()] == []
    assert len(lines) == 5, "the event, three routes, and where it goes"


LATE_ONES = '[[routes]]\nname = "late"\nmatch = { stale = true, round = { gte = 2 } }\nsinks = ["archive"]\n'


def with_route(folder: Path) -> Path:
    file = folder / "gateway.toml"
    file.write_text(file.read_text() + LATE_ONES)
    return folder


def test_an_event_without_facts_is_said_to_have_none(folder: Path) -> None:
    result = gateway("route", "authentic", cwd=with_route(folder))
    assert "stale: expected true, is absent, because this event has no facts" in result.out


def test_facts_can_be_given_to_an_event(folder: Path) -> None:
    with_route(folder)
    late = gateway("route", "authentic", "--fact", "stale=true", "--fact", "round=2", cwd=folder)
    assert "+ late" in late.out
    first = gateway("route", "authentic", "--fact", "stale=true", cwd=folder)
    assert 'round: expected {"gte": 2}, is 1' in first.out


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        ("stal=true", 'gateway: error: --fact stal: unknown key; did you mean "stale"?\n'),
        ("stale=yes", 'gateway: error: --fact stale: is the string "yes", but must be true or false\n'),
        ("state.before=7", "gateway: error: --fact state.before: is the number 7, but must be a string\n"),
        ("stale", 'gateway: error: --fact: "stale" is not path=value, as in state.primary=COMPLETE\n'),
    ],
)
def test_a_fact_that_does_not_exist_is_a_usage_error(fact: str, said: str, folder: Path) -> None:
    result = gateway("route", "authentic", "--fact", fact, cwd=folder)
    assert (result.status, result.err) == (2, said)


def test_a_late_event_is_shown_as_suppressed_where_it_is(folder: Path) -> None:
    file = folder / "gateway.toml"
    text = file.read_text().replace('path = "fraud.jsonl"\n', 'path = "fraud.jsonl"\non_stale = "suppress"\n')
    file.write_text(text)
    facts = ("--fact", "stale=true", "--expect", "archive")
    result = gateway("route", "counterfeit", *facts, cwd=folder)
    assert result.status == 0
    assert result.out.endswith('-> archive\nlate, so on_stale = "suppress" keeps it from fraud_desk\n')
    document = gateway("route", "counterfeit", *facts, "--json", cwd=folder).document()
    assert (document["sinks"], document["suppressed"]) == (["archive"], ["fraud_desk"])


JOINING = """
[sinks.desk]
type = "slack"
webhook_url = { env = "NOT_SET" }

[[routes]]
name = "new photos"
match = { milestone = ["qc_rejected", "needs_resubmission"] }
sinks = ["desk"]
join = "30s"
"""


@pytest.fixture
def joining(folder: Path) -> Path:
    file = folder / "gateway.toml"
    file.write_text(file.read_text() + JOINING)
    return folder


@pytest.mark.parametrize(("event", "other"), [("qc_rejected", "media_rejected"), ("needs_resubmission", "QC/REJECTED")])
@pytest.mark.parametrize("facts", [(), ("--fact", "round=2")], ids=["without facts", "in a round"])
def test_an_event_says_for_how_long_it_would_wait_and_for_what(
    event: str, other: str, facts: tuple[str, ...], joining: Path
) -> None:
    result = gateway("route", event, *facts, cwd=joining)
    assert f"\ndesk: waits up to 30s for the {other} of the same round\n" in f"{result.out}"
    assert gateway("route", event, *facts, "--json", cwd=joining).document()["waits"] == {"desk": 30.0}


@pytest.mark.parametrize("arguments", [("authentic",), ("qc_rejected", "--fact", "stale=true")], ids=["another event", "late"])
def test_an_event_that_waits_for_nothing_says_nothing_of_it(arguments: tuple[str, ...], joining: Path) -> None:
    assert "waits" not in gateway("route", *arguments, cwd=joining).out
    assert "waits" not in gateway("route", *arguments, "--json", cwd=joining).document()
